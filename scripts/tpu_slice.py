"""A Cloud TPU slice as gcloud shows it: one call, a call that is repeated, what its workers say."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import subprocess
import time

# What another try does not mend. Everything else may be the network.
_LASTING = re.compile(
    r"PERMISSION_DENIED|UNAUTHENTICATED|INVALID_ARGUMENT|invalid_grant|not found; install|"
    r"unrecognized arguments|set the property|do not currently have an active account|ssh-agent",
    re.IGNORECASE,
)
_CODE = re.compile(r"^t5distill-code (\S+) (\S+)\s*$", re.MULTILINE)
_LOOK = """
cd ~; f=t5distill-run
if [ -e $f/code ]; then c=$(cat $f/code)
elif [ -e $f/pid ] && kill -0 $(cat $f/pid) 2>/dev/null; then c=running
elif [ -e $f/pid ]; then c=137
else c=none; fi
echo; echo "t5distill-code $(uname -n) $c"
"""


class Mistake(Exception):
    """Something to be put right before the same command again."""


class Failed(Exception):
    """A call of gcloud that failed, with what it said; another try may succeed."""


class Gone(Exception):
    """The slice is no longer there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """A queued resource and its one node, which have the same name.

    Attributes:
      name: of both.
      zone: where.
      project: gcloud's own by default.
      poll: seconds between two looks.
    """

    name: str
    zone: str
    project: str | None = None
    poll: float = 30.0

    def once(self, *words: str) -> bytes:
        """Run gcloud and return what it prints; raise Failed or, where it lasts, Mistake."""
        where = [f"--zone={self.zone}", *([f"--project={self.project}"] if self.project else [])]
        command = ["gcloud", "compute", "tpus", *words, *where, "--quiet"]
        try:
            done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError as e:
            raise Mistake("gcloud: not found; install the Google Cloud CLI") from e
        if done.returncode == 0:
            return done.stdout
        said = f"gcloud {shlex.join(words[:3])}: {done.stderr.decode(errors='replace').strip()}"
        raise (Mistake if _LASTING.search(said) else Failed)(said)

    def call(self, *words: str, tries: int = 12, on_node: bool = False) -> bytes:
        """Run gcloud; where it fails wait, longer each time, and try again.

        Args:
          words: of the command, behind `gcloud compute tpus`.
          tries: how often.
          on_node: whether it needs the node: raise Gone where that is lost meanwhile.
        """
        for attempt in range(tries):
            try:
                return self.once(*words)
            except Failed as e:
                if on_node and self.state() != "ACTIVE":
                    raise Gone from e
                if attempt == tries - 1:
                    raise Mistake(f"{e}\ntried {tries} times") from e
                say(f"{' '.join(str(e).split())[:300]}; tried again")
                time.sleep(min(self.poll * 2**attempt, 600))
        raise AssertionError

    def state(self) -> str | None:
        """Return the queued resource's state, or None where there is none."""
        listed = self.call("queued-resources", "list", f"--filter=name~/{self.name}$",
                           "--format=json(name,state)")  # fmt: skip
        for each in json.loads(listed or b"[]"):
            if each["name"].rpartition("/")[2] == self.name:
                return each["state"]["state"]
        return None

    def on_node(self, *words: str) -> bytes:
        """As `call`, of the node."""
        return self.call("tpu-vm", *words, tries=8, on_node=True)

    def everywhere(self, script: str) -> bytes:
        """Run a script on all workers, again where one fails; return what they print."""
        return self.on_node("ssh", self.name, "--worker=all", f"--command={script}")

    def workers(self) -> int:
        """Return how many workers the node has."""
        node = json.loads(self.on_node("describe", self.name, "--format=json"))
        return len(node["networkEndpoints"])

    def codes(self) -> dict[str, str] | None:
        """Return each worker's exit code, `running`, or `none` where nothing was started.

        None where not all of them could be asked.
        """
        look = ("tpu-vm", "ssh", self.name, "--worker=all", f"--command={_LOOK}")
        try:
            found = dict(_CODE.findall(self.once(*look).decode(errors="replace")))
        except Failed:
            return None
        return found if len(found) == self.workers() else None


def say(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
