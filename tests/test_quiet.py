"""TensorFlow's notices stay away from the terminal; a failure does not."""

import os
import subprocess
import sys


def run(*, path=None):
    environment = dict(os.environ)
    if path:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), *filter(None, sys.path)])
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from t5distill import quiet; quiet.import_tensorflow(); "
            "print('still here', file=sys.stderr)",
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_importing_says_nothing_and_stderr_works_afterwards():
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "still here\n")


def test_what_a_failed_import_said_is_shown(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'a library is missing\\n')\nraise ImportError('no core')\n"
    )
    done = run(path=tmp_path)
    assert done.returncode == 1
    assert "a library is missing" in done.stderr
    assert "ImportError: no core" in done.stderr
