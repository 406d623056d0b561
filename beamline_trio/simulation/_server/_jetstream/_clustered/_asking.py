"""Questions of one server to the others, where no one of them knows the whole answer.

Must not know what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..._surroundings import Timer
    from ._hub import Hub

_GROUP: Final = "_ask_"
_WAIT_SECONDS: Final = 4.0


class _Question:
    def __init__(self, asked: Sequence[str], done: Callable[[list[dict[str, Any]]], None]) -> None:
        self.missing = dict.fromkeys(asked)
        self.answers: list[dict[str, Any]] = []
        self.done = done
        self.timer: Timer | None = None


class Asking:
    """The questions of one server.

    Args:
        hub: its way to the others.
        answer: how this server answers.
    """

    def __init__(self, hub: Hub, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._hub = hub
        self._answer = answer
        self._questions: dict[int, _Question] = {}
        self._count = 0

    def ask(
        self, servers: Sequence[str], question: dict[str, Any], done: Callable[[list[dict[str, Any]]], None]
    ) -> None:
        """Ask servers, the own one too; `done` gets the answers that come within four seconds, as soon as it can."""
        self._count += 1
        number = self._count
        data = json.dumps({"number": number, "question": question}).encode()
        asked = [one for one in servers if one != self._hub.host and self._hub.tell(one, _GROUP, data)]
        waiting = self._questions[number] = _Question(asked, done)
        if self._hub.host in servers:
            waiting.answers.append(self._answer(question))
        waiting.timer = self._hub.call_later(_WAIT_SECONDS, self._finish, number)
        if not asked:
            self._finish(number)

    def told(self, peer: str, group: str, data: bytes) -> bool:
        """Whether what another server says is a question or an answer; it is dealt with."""
        if group != _GROUP:
            return False
        said = json.loads(data)
        if "question" in said:
            answer = {"number": said["number"], "answer": self._answer(said["question"])}
            self._hub.tell(peer, _GROUP, json.dumps(answer).encode())
            return True
        question = self._questions.get(said["number"])
        if question is not None and peer in question.missing:
            del question.missing[peer]
            question.answers.append(said["answer"])
            if not question.missing:
                self._finish(said["number"])
        return True

    def _finish(self, number: int) -> None:
        question = self._questions.pop(number, None)
        if question is None:
            return
        if question.timer is not None:
            question.timer.cancel()
        question.done(question.answers)
