"""Exit codes tell what became of a request, whatever happens to standard output and standard error."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from efface import Store
from efface.cli import request_display
from efface.cli.main import app
from efface.cli.streams import SteadyStream, failure_of, steady_streams
from helpers.command_line import SMALL, UNLEARN, make_workshop, run

QUICK = ("--option", "rounds=1", "--option", "steps=8", "--no-audit", "--accept", "any", "--device", "cpu")
INIT = ("init", "my_task:task", "--checkpoint", "model.safetensors", "--device", "cpu")
STANDS = "what was done stands: "
FULL = f"({os.strerror(errno.ENOSPC)}); {STANDS}"
# what each command is tried with, the code that it ends with, and where standard error says to look
CHANGES = {
    "unlearn": ((*UNLEARN, *SMALL, "--no-audit"), 3, "the files in run hold it"),
    "init": ((*INIT, "--store", "other"), 0, "other.key"),
    "request add": (("request", "add", "--ids", "ids.txt"), 0, "efface request list shows it"),
    "request cancel": (("request", "cancel", "1"), 0, "efface request list shows it"),
    "run": (("run", *QUICK), 3, "efface status and efface request list show it"),
    "export": (("export", "1", "--out", "bundle"), 0, "the files are in bundle"),
    "rollback": (("rollback", "1"), 0, "efface status and efface request list show it"),
    "backup": (("backup", "--out", "copy"), 0, "the backup is in "),
    "restore": (("restore", "copy", "--store", "back", "--key", "efface-store.key"), 0, "the store is "),
    "clock": (("clock", "--confirm"), 0, "efface clock shows it"),
    "refingerprint": (("refingerprint",), 0, "efface refingerprint --dry-run shows what it noted"),
    "retire": (("retire", "--yes"), 0, "efface status and efface request list show it"),
}
# `audit` and `demo` end as `unlearn` does
LIKE_UNLEARN = {"audit", "demo"}
READS = {
    "status": ("status",),
    "status --check": ("status", "--check", "--within", "7"),
    "request list": ("request", "list", "--json"),
    "request show": ("request", "show", "1"),
    "verify": ("verify", "--no-audit"),
    "head": ("head",),
    "clock to read": ("clock",),
    "refingerprint --dry-run": ("refingerprint", "--dry-run"),
    "methods": ("methods",),
    "doctor": ("doctor", "my_task:task", "--checkpoint", "model.safetensors"),
    "unlearn --dry-run": (*UNLEARN[:-2], "--dry-run"),
    "--help": ("run", "--help"),
    "--version": ("--version",),
    "request": ("request",),
}


class Interrupted(io.BytesIO):
    """A pipe whose reader does not read, until somebody presses Ctrl-C."""

    def write(self, data: Any, /) -> int:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    make_workshop(folder)
    task = (
        (folder / "my_task.py")
        .read_text()
        .replace('"build_model": build_model}', '"build_model": build_model, "fit": fit}')
    )
    (folder / "my_task.py").write_text(f"{task}\n\ndef fit(model, data, seed):\n    pass\n")
    (folder / "one.txt").write_text("7\n")
    return folder


@pytest.fixture(scope="module")
def stored(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, in which a request waits."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        assert run(*INIT, "--store", str(folder / "efface-store")).exit_code == 0
        added = run("request", "add", "--ids", "one.txt", "--store", str(folder / "efface-store"))
        assert added.exit_code == 0, added.output
    return folder


@pytest.fixture
def place(here: Path, stored: Path) -> Path:
    """The working folder, with a copy of the store in it."""
    shutil.copytree(stored, here, symlinks=True, dirs_exist_ok=True)
    return here


def full() -> io.TextIOWrapper:
    """Standard output into a file on a full disk."""
    return io.TextIOWrapper(io.FileIO("/dev/full", "w"), "utf-8", write_through=True)


def unread() -> io.TextIOWrapper:
    """Standard output into a pipe whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(write, "w")), "utf-8")


def waiting() -> io.TextIOWrapper:
    """Standard output into a pipe that is full, where somebody interrupts the command."""
    return io.TextIOWrapper(Interrupted(), "utf-8")


def ended(stdout: io.TextIOWrapper | None, *words: str, stderr: io.TextIOWrapper | None = None) -> tuple[int, str]:
    """Exit code of a command that writes to these streams, and its standard error if that can be read."""
    errors = io.TextIOWrapper(io.BytesIO(), "utf-8") if stderr is None else stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", errors)
        patch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as end:
            get_command(app).main(args=list(words), prog_name="efface")
        errors.flush()
    for stream in (stdout, stderr):
        if stream is not None and not isinstance(stream.buffer, io.BytesIO):
            stream.detach().close()
    code = end.value.code
    assert isinstance(code, int)
    return code, errors.buffer.getvalue().decode() if isinstance(errors.buffer, io.BytesIO) else ""


def commands_of(group: Any, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_every_command_is_known_to_read_or_to_change_something() -> None:
    """Whoever adds a command adds it here, and calls `done` in one that changes something."""
    assert set(commands_of(get_command(app))) == {*CHANGES, *LIKE_UNLEARN, *READS} & set(commands_of(get_command(app)))


@pytest.mark.parametrize("command", CHANGES)
def test_a_command_that_changed_something_says_so_by_its_code(place: Path, command: str) -> None:
    words, code, where = CHANGES[command]
    if command == "export":
        run("run", *QUICK)
    if command == "refingerprint":
        run("request", "cancel", "1")
    if command == "restore":
        run("backup", "--out", "copy")
        (place / "efface-store").rename(place / "old-store")
        words = (*words, "--against", "old-store", "--bring-back")
    if command == "rollback":  # to a version that knows no forgotten record
        run("request", "cancel", "1")
        assert run("run", "--retrain", "--accept", "any", "--device", "cpu").exit_code == 0
    got, said = ended(full(), *words)
    assert (got, said.count("\n")) == (code, 1), said
    assert FULL in said and where in said
    assert _happened(place, command)


def _happened(place: Path, command: str) -> bool:
    folders = {"unlearn": "run", "init": "other", "export": "bundle", "backup": "copy", "restore": "back"}
    if command in folders:
        return any((place / folders[command]).iterdir())
    history = Store(place / "efface-store").history()
    return {
        "request add": len(history.requests) == 2,
        "request cancel": history.requests[1].stage == "cancelled",
        "run": history.requests[1].stage == "honoured",
        "rollback": history.current == 1,
        "clock": True,  # there was nothing to confirm
        "refingerprint": True,  # nor any content that changed
        "retire": history.retired is not None,
    }[command]


@pytest.mark.parametrize("make", [unread, waiting, lambda: None], ids=["unread", "interrupted", "closed"])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_it_does_not_matter_why_the_answer_cannot_be_printed(
    place: Path, make: Callable[[], io.TextIOWrapper | None], as_json: tuple[str, ...]
) -> None:
    code, said = ended(make(), "request", "cancel", "1", *as_json)
    assert (code, said.count("\n")) == (0, 1), said
    assert STANDS in said
    assert _happened(place, "request cancel")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a fault of the display"), SystemExit(9)])
def test_an_error_after_the_change_does_not_hide_it(
    place: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(request_display, "show_answer", fail)
    result = run("request", "add", "--ids", "ids.txt")
    assert (result.exit_code, result.stdout) == (0, "")
    assert STANDS in result.stderr and result.stderr.count("\n") == 1
    assert _happened(place, "request add")


@pytest.mark.parametrize("words", READS.values(), ids=READS)
def test_a_command_that_reads_does_not_pass_off_half_an_answer_as_a_whole(place: Path, words: tuple[str, ...]) -> None:
    if words[0] == "refingerprint":  # which is refused while requests are pending
        run("request", "cancel", "1")
    assert ended(full(), *words) == (6, f"efface: the answer could not be printed in full: {_no_space()}\n")
    assert ended(unread(), *words) == (0, "")


def _no_space() -> str:
    return f"{os.strerror(errno.ENOSPC)} (standard output)"


def test_an_interrupted_command_that_reads_is_interrupted(place: Path) -> None:
    assert ended(waiting(), "status")[0] == 130
    assert ended(None, "status")[0] == 6


def test_a_worse_code_than_that_of_the_output_stays(place: Path) -> None:
    assert ended(full(), "request", "show", "9")[0] == 2
    code, said = ended(full(), "request", "show", "9", "--json")
    assert code == 2 and "there is no request 9" in said
    assert ended(full(), "request", "show", "9", stderr=full())[0] == 2
    checkpoint = (place / "efface-store/current.safetensors").resolve()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert ended(full(), "status", "--check")[0] == 4


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("print('hello', flush=True)", os.strerror(errno.ENOSPC)),
        ("sys.stdout.buffer.write(b'hello' * 9999)", os.strerror(errno.ENOSPC)),
        ("sys.stdout = io.StringIO()", os.strerror(errno.ENOSPC)),
        ("sys.stdout.close()", "ValueError: I/O operation on closed file."),
        ("sys.stdout.detach()", "ValueError: underlying buffer has been detached"),
    ],
)
def test_what_a_users_code_does_with_streams_cannot_end_a_command(place: Path, line: str, reason: str) -> None:
    task = place / "my_task.py"
    text = task.read_text().replace('"build_model":', '"groups": list(range(300)), "build_model":')
    task.write_text(f"import io, sys\n{line}\n{text}")
    sys.modules.pop("my_task", None)
    code, said = ended(full(), "run", *QUICK)
    sys.modules.pop("my_task", None)
    assert (code, said.count("\n")) == (3, 1) and f"({reason}); {STANDS}" in said
    assert _happened(place, "run")


def test_a_report_that_cannot_be_written_is_the_disks_fault(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("efface.auditing.report.build.write", fail)
    result = run(*UNLEARN, *SMALL)
    assert (result.exit_code, result.stdout) == (6, "")
    assert "No space left on device; written before that: run/unlearned.safetensors" in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_notes_are_shown_as_far_as_the_terminal_can(place: Path, encoding: str) -> None:
    note = "M\xfcller\u2013ticket [bold]x[/nope]"
    run("request", "add", "--ids", "ids.txt", "--note", note)
    for words in (("request", "list"), ("request", "show", "2"), ("status",), ("--help",), ("--version",)):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding)
        code, said = ended(stdout, *words)
        assert isinstance(stdout.buffer, io.BytesIO)
        shown = stdout.buffer.getvalue().decode(encoding)
        assert (code, said) == (0, "") and shown
        if words[0] == "request":
            assert note.encode(encoding, "backslashreplace").decode(encoding) in shown
        if words == ("request", "list"):  # the table has room for what is written
            assert len({len(line) for line in shown.splitlines()}) == 1


def test_a_pipe_that_does_not_wait_gets_everything() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    got: list[bytes] = []

    def drain() -> None:
        with os.fdopen(read, "rb") as pipe:
            got.append(pipe.read())

    reader = threading.Thread(target=drain)
    sink = io.FileIO(write, "w")
    stream = io.TextIOWrapper(io.BufferedWriter(SteadyStream(sink, "stdout")), "utf-8")
    reader.start()
    stream.write("x" * 300_000)
    assert failure_of(stream) is None
    sink.close()
    reader.join()
    assert got == [b"x" * 300_000]


def test_streams_that_write_to_memory_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = io.StringIO()
    monkeypatch.setattr(sys, "stdout", memory)
    with steady_streams():
        assert sys.stdout is memory
        print("shown")
    assert (sys.stdout, memory.getvalue()) == (memory, "shown\n")


def shell(place: Path, words: str) -> subprocess.CompletedProcess[str]:
    """A command as a shell starts it, in an environment that holds next to nothing."""
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["EFFACE"] = f"{sys.executable} -O -m efface"
    return subprocess.run(["bash", "-c", words], cwd=place, env=environment, capture_output=True, text=True)


def test_a_process_without_streams_and_home_does_its_work(place: Path) -> None:
    done = shell(place, "$EFFACE request add --ids ids.txt <&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert _happened(place, "request add")


def test_the_end_of_python_does_not_change_the_code(place: Path) -> None:
    done = shell(
        place,
        "$EFFACE status > /dev/full; echo $?; $EFFACE status | true; echo ${PIPESTATUS[0]}; $EFFACE status --json >&-; "
        "echo $?; $EFFACE request show 9 > /dev/full 2>&1; echo $?; $EFFACE --help > /dev/full 2>&1; echo $?",
    )
    assert done.stdout.split() == ["6", "0", "6", "2", "6"]
    message = "efface: the answer could not be printed in full: "
    assert done.stderr == f"{message}{_no_space()}\n{message}it is closed (standard output)\n"


def test_what_is_printed_while_python_ends_does_not_change_the_code(place: Path) -> None:
    script = "import atexit; from efface.cli.main import app; atexit.register(print, 'the last word'); app(['status'])"
    done = shell(place, f'{sys.executable} -c "{script}" > /dev/full')
    assert (done.returncode, done.stderr.count("\n")) == (6, 1), done.stderr


def test_json_that_is_printed_is_whole(place: Path) -> None:
    assert json.loads(run("request", "list", "--json").stdout)["requests"][0]["number"] == 1
