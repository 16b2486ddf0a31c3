"""Files that went wrong on the way: ids, suites and checkpoints, broken in ways that a generator draws."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

Draw = np.random.Generator
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "cp037", "shift_jis")
BREAKS = ("\n", "\r\n", "\r", "\n\r", "\n\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028")
WORDS = (
    *("7", "007", "-7", "+7", " 7 ", "7.0", "1e3", "0x1F", "1_000", "true", "None", "nan", "-", "+", "--7", "7 8"),
    *(str(2**63), str(2**64), str(-(2**63) - 1), "9" * 18, "9" * 19, "1" * 5000),
    *(
        "\u0667",
        "\uff17",
        "\U0001d7d5",
        "²",
        "\u2166",
        "7\u0301",
        "\u200b7",
        "\u202e7",
        "\ufeff7",
    ),  # digits to somebody, and unseen signs
    *(
        "# 7",
        "#",
        "##",
        " # 7",
        "a#7",
        "anna@example.org",
        "<script>",
        "'; DROP TABLE",
        "=1+1",
        "\x1b[31m",
        "é",
        "漢",
        "🙂",
    ),
    *("", " ", "\t", "\u00a0", "\u3000"),
)


def broken(data: bytes, draw: Draw) -> bytes:
    """Bytes of which some were cut off, flipped, doubled, lost or overwritten."""
    held = bytearray(data)
    for _ in range(int(draw.integers(1, 4))):
        at, end = sorted(int(x) for x in draw.integers(0, len(held) + 1, 2))
        kind = draw.integers(6)
        if kind == 0:
            del held[at:]
        elif kind == 1 and held:
            held[min(at, len(held) - 1)] ^= 1 << int(draw.integers(8))
        elif kind == 2:
            held[at:at] = draw.bytes(int(draw.integers(1, 40)))
        elif kind == 3:
            del held[at : min(end, at + 64)]
        elif kind == 4:
            held[at:at] = held[at : min(end, at + 64)]
        else:
            held[at : at + 8] = b"\xff" * 8
    return bytes(held)


def ids_file(draw: Draw) -> bytes:
    """A file of ids, more or less."""
    kind = draw.integers(8)
    if kind == 0:
        return draw.bytes(int(draw.integers(0, 200)))
    words = [WORDS[i] for i in draw.integers(0, len(WORDS), int(draw.integers(0, 12)))]
    breaks = [BREAKS[i] for i in draw.integers(0, len(BREAKS) if kind == 1 else 3, len(words))]
    text = "".join(word + end for word, end in zip(words, breaks, strict=True))
    encoding = ENCODINGS[draw.integers(len(ENCODINGS))] if kind in (2, 3) else "utf-8"
    data = text.encode(encoding, "replace")
    if kind == 4:
        return data[: int(draw.integers(0, len(data) + 1))] + b"\0" + data
    return broken(data, draw) if kind == 5 else data


def toml_value(draw: Draw, depth: int = 0) -> str:
    """Some value, of whatever type."""
    kind = draw.integers(12 if depth < 3 else 9)
    plain = ("1", "0", "-3", "0.1", "nan", "inf", "true", '"steer"', '"a\\nb"')
    if kind < 9:
        return plain[kind]
    inner = [toml_value(draw, depth + 1) for _ in range(int(draw.integers(0, 3)))]
    if kind == 9:
        return f"{{ {', '.join(f'k{i} = {v}' for i, v in enumerate(inner))} }}"
    return f"[{', '.join(inner)}]" if kind == 10 else ("2031-05-17", "07:32:00", "1e400", "0xff")[draw.integers(4)]


def toml_file(draw: Draw, sound: str) -> bytes:
    """A suite or file of recipes with another value, line or byte somewhere."""
    kind = draw.integers(6)
    if kind == 0:
        return broken(sound.encode(), draw)
    if kind == 1:
        return draw.bytes(int(draw.integers(0, 300)))
    lines = sound.splitlines()
    for _ in range(int(draw.integers(1, 4))):
        at = int(draw.integers(len(lines)))
        name, equals, _ = lines[at].partition(" = ")
        if equals and kind < 5:
            lines[at] = f"{name} = {toml_value(draw)}"
        else:
            lines.insert(
                at, (lines[at], "[", "x = ", "[tuning]", "[[settings]]", "odd = 1", "\ufeff")[draw.integers(7)]
            )
    return "\n".join(lines).encode()


def network() -> nn.Module:
    """What the checkpoints are for; weights and buffers of two kinds of numbers."""
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


class Command:
    """What pickle would turn into a call."""

    def __init__(self, call: Callable[..., Any], *words: Any) -> None:
        self.call, self.words = call, words

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.words


def checkpoint(draw: Draw, traps: Path) -> tuple[str, bytes]:
    """A file's ending and its content; files that would run code would write below `traps`."""
    kind = draw.integers(10)
    state = dict(network().state_dict())
    if kind == 0:
        return _ending(draw), draw.bytes(int(draw.integers(0, 400)))
    if kind in (1, 2):
        return ".safetensors", broken(save(state), draw)
    if kind == 3:
        return ".safetensors", _odd_header(draw, save(state))
    if kind in (4, 5):
        state = _unfitting(draw, state)
        return (".safetensors", save(state)) if kind == 4 else (".pt", _saved(state))
    if kind in (6, 7):
        legacy = bool(draw.integers(2))
        return (".pt", ".pth")[draw.integers(2)], broken(_saved(state, zipped=not legacy), draw)
    if kind == 8:
        return ".pt", trapped(draw, state, traps)
    held: Any = ([state], {"model": state}, {1: 2}, state["0.weight"], "text", None, {"0.weight": [1.0]})
    return ".pt", _saved(held[draw.integers(7)])


def _ending(draw: Draw) -> str:
    return (".safetensors", ".pt", ".pth", ".bin", "")[draw.integers(5)]


def _saved(held: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(held, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _odd_header(draw: Draw, data: bytes) -> bytes:
    """A safetensors file whose header says something else than it holds."""
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    name = list(header)[draw.integers(len(header))]
    kind = draw.integers(8)
    if kind == 0:
        huge = (2**63, 2**64 - 1, 2**40, len(data), 100_000_001, 0)[draw.integers(6)]
        return struct.pack("<Q", huge) + data[8:]
    if kind == 1:
        header[name]["dtype"] = ("F64", "BOOL", "I8", "F8_E4M3", "F4", "U64", "C64", "F6_E2M3", "x", 5)[
            draw.integers(10)
        ]
    elif kind == 2:
        header[name]["shape"] = ([], [0], [-1], [2**62, 4], [4, 3, 1], "4", [1.5])[draw.integers(7)]
    elif kind == 3:
        header[name]["data_offsets"] = ([0, 0], [-4, 4], [0, 2**63], [8, 4], [0], None)[draw.integers(6)]
    elif kind == 4:
        header[f"{name} "] = header.pop(name)
    elif kind == 5:
        header["__metadata__"] = ({"a": 1}, [], {"a": {}}, "x", None)[draw.integers(5)]
    elif kind == 6:
        header[name] = (None, [], {}, 7)[draw.integers(4)]
    text = json.dumps(header).encode() if kind != 7 else b"[" * 2000
    return struct.pack("<Q", len(text)) + text + body


def _unfitting(draw: Draw, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = list(state)[draw.integers(len(state))]
    tensor = state[name]
    kind = draw.integers(7)
    if kind == 0:
        del state[name]
    elif kind == 1:
        state[f"{name}.more"] = tensor.clone()
    elif kind == 2:
        state[name] = torch.zeros(*tensor.shape, 2)
    elif kind == 3:
        others = (torch.int64, torch.bool, torch.complex64, torch.float16, torch.bfloat16, torch.uint8)
        state[name] = torch.zeros(tensor.shape, dtype=others[draw.integers(6)])
    elif kind == 4:
        state = {f"module.{key}": value for key, value in state.items()}
    elif kind == 5:
        state[name] = torch.full(tensor.shape, float("nan")).to(tensor.dtype)
    else:
        state = {}
    return state


def trapped(draw: Draw, state: dict[str, Any], traps: Path) -> bytes:
    """A pickle that would run a command, alone, among weights or within a file of torch.save."""
    place = str(traps / f"{draw.integers(10**9)}")
    command = (
        Command(os.system, f"mkdir {place}"),
        Command(eval, f"__import__('os').mkdir({place!r})"),
        Command(exec, f"import os; os.mkdir({place!r})"),
        Command(os.mkdir, place),
        Command(Path.mkdir, Path(place)),
    )[draw.integers(5)]
    held = ({**state, "0.bias": command}, command, [command], {"state_dict": command})[draw.integers(4)]
    if draw.integers(2):
        return pickle.dumps(held, protocol=int(draw.integers(0, 5)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_saved(state))) as sound, zipfile.ZipFile(buffer, "w") as made:
        for item in sound.namelist():
            made.writestr(item, pickle.dumps(command, 2) if item.endswith("data.pkl") else sound.read(item))
    return buffer.getvalue()
