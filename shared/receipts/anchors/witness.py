"""The witness anchor: ask a C2SP witness to cosign a checkpoint, and believe only what its pinned key signed.

Source: c2sp.org/tlog-witness. A cosignature says that a party with its own memory saw the log only grow. It is no chain
transaction, and where the operator runs the witness it is no independent party either.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Self

import httpx

from shared.kernel.errors import Conflict, IntegrityFault, Unavailable
from shared.merkle.checkpoint import SignedCheckpoint, verify_line
from shared.merkle.notes import Algorithm, MalformedNote, Note, VerifierKey

DEFAULT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024
SIZE_TYPE = "text/x.tlog.size"
_REFUSALS = (httpx.codes.FORBIDDEN, httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.BAD_REQUEST)
_SIZE_LINE = re.compile(r"(0|[1-9][0-9]{0,18})\n")


class AnchorUnavailable(Unavailable):
    """The target did not answer, or answered that it cannot now. The outcome is unknown: ask again, byte for byte."""

    code = "anchor_unavailable"


class AnchorRefused(IntegrityFault):
    """The target answered and will not vouch for this checkpoint, or its answer does not verify. Repeating is no use."""

    code = "anchor_refused"


class WitnessBehind(Conflict):
    """The witness last cosigned another size than the one the proof starts from. `size`: prove from there."""

    code = "witness_behind"

    def __init__(self, size: int) -> None:
        super().__init__(f"the witness last cosigned size {size}")
        self.size = size


class WitnessClient:
    """One witness: its address and its pinned verifier key. Close it after use, or use it in a `with`."""

    def __init__(self, url: str, vkey: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.key = VerifierKey.parse(vkey)
        if self.key.algorithm is Algorithm.ED25519:
            raise MalformedNote("a witness key has algorithm 0x04 or 0x06", field="vkey")
        # trust_env=False: the environment is read once, by the settings, and by nobody else
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=timeout_s, trust_env=False)

    def cosign(self, old_size: int, proof: Sequence[bytes], note: str) -> str:
        """Return the witness's verified cosignature line over the signed checkpoint `note`, newline included.

        `proof`: consistency from `old_size` to the checkpoint's size; 0 and an empty proof at the first contact.
        Raises `WitnessBehind` when the witness stands at another size, `AnchorRefused`, `AnchorUnavailable`.
        """
        signed = SignedCheckpoint.parse(note)
        status, content_type, body = self._post(_body(old_size, proof, note))
        if status == httpx.codes.CONFLICT and content_type == SIZE_TYPE:
            raise _conflict(body, old_size)
        if status in _REFUSALS:
            raise AnchorRefused(f"the witness refused the checkpoint with {status}")
        if status != httpx.codes.OK:  # a proxy's 404 during a deploy, say: the witness itself has not spoken
            raise AnchorUnavailable(f"the witness answered {status}")
        return self._own_line(signed, body)

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _post(self, body: bytes) -> tuple[int, str, str]:
        chunks = bytearray()
        try:
            with self._http.stream("POST", "/add-checkpoint", content=body) as response:
                for chunk in response.iter_bytes():
                    chunks += chunk
                    if len(chunks) > MAX_ANSWER_BYTES:
                        raise AnchorRefused("the witness's answer is too long")
        except httpx.HTTPError as fault:
            raise AnchorUnavailable(f"the witness does not answer: {type(fault).__name__}") from fault
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        return response.status_code, content_type, chunks.decode(errors="replace")

    def _own_line(self, signed: SignedCheckpoint, body: str) -> str:
        """Pick our witness's line and verify it; lines by keys that are not pinned are ignored, as the protocol asks."""
        try:
            answer = Note.parse(signed.checkpoint.text() + "\n" + body)
        except MalformedNote as fault:
            raise AnchorRefused(f"the witness's answer is malformed: {fault.message}") from None
        for line in answer.signatures:
            if line.is_by(self.key):
                try:
                    verify_line(signed.checkpoint, line, self.key)
                except IntegrityFault as fault:
                    raise AnchorRefused(fault.message) from None
                return line.render()
        raise AnchorRefused("the witness answered without a cosignature by its pinned key")


def _body(old_size: int, proof: Sequence[bytes], note: str) -> bytes:
    lines = [f"old {old_size}", *(base64.b64encode(value).decode() for value in proof)]
    return ("\n".join(lines) + "\n\n" + note).encode()


def _conflict(body: str, old_size: int) -> WitnessBehind | AnchorRefused:
    size = _SIZE_LINE.fullmatch(body)
    if size is None:
        return AnchorRefused("the witness's conflict names no size")
    if int(size.group(1)) == old_size:  # the size is right, so it is the root that differs: two histories
        return AnchorRefused("the witness holds another root for this size")
    return WitnessBehind(int(size.group(1)))
