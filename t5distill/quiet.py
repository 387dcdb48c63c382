"""Import TensorFlow without its start-up notices, which no setting switches off.

They are printed by C++ code before its log levels are set: a dozen lines about oneDNN, CUDA and CPU
flags that bury what a command has to say. SeqIO's packing warns of every feature that is no token
sequence; that is how it is meant to be used, so its warnings are kept to errors.
"""

from __future__ import annotations

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices; a failure shows what was held back."""
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        try:
            import absl.logging
            import tensorflow as tf

            # TensorFlow only reads data here, but would take the memory of every GPU that it sees.
            tf.config.set_visible_devices([], "GPU")
            tf.constant(0)
            absl.logging.set_verbosity(absl.logging.ERROR)
        except BaseException:
            notices.seek(0)
            os.write(kept, notices.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
