"""A teacher on this machine: an OpenAI-compatible server that answers the embedded problems.

It is a real HTTP/1.1 server on 127.0.0.1. The quickstart goes through it as through any teacher,
and tests find in it what a provider does on bad days (`Faults`) and its own account of what was
asked and answered (`Bill`). Its log-probabilities are those of the generator that writes its
texts (`probabilities`), so that soft labels from it mean something.

    with LoopbackTeacher(problems, seed=0, wrong_rate=0.2) as teacher:
        client = openai.OpenAI(base_url=teacher.url, api_key="none")

`LoopbackProcess` is the same in a child process, which is quicker where the client is Python too.
"""

from t5distill.teacher.loopback.bill import Bill, Entry
from t5distill.teacher.loopback.faults import Faults
from t5distill.teacher.loopback.process import LoopbackProcess
from t5distill.teacher.loopback.server import LoopbackTeacher

__all__ = ["Bill", "Entry", "Faults", "LoopbackProcess", "LoopbackTeacher"]
