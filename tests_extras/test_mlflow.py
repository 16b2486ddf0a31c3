"""MLflow: a run with metrics, report and receipt, and a registered version that says what was done."""

from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from torch.utils.data import TensorDataset

import efface
from efface.integrations.mlflow import log
from extras.pages import code_lines, run_page
from extras.rows import Net, classes
from extras.runs import unlearn


@pytest.fixture(scope="module")
def result() -> efface.Result:
    torch.manual_seed(0)
    train, holdout, test = (TensorDataset(*classes(n, seed)) for seed, n in enumerate((300, 200, 150)))
    model, (x, y) = Net(), train.tensors
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return unlearn(model.eval(), efface.Task(train=train, holdout=holdout, test=test))


@pytest.fixture(scope="module")
def report(result: efface.Result) -> efface.Report:
    return efface.audit(result, level="quick")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("unlearning")
    return mlflow.MlflowClient()


def test_a_run_and_a_version_say_what_was_done(client: Any, report: efface.Report, result: efface.Result) -> None:
    run_id = log(report, name="digits")
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED" and mlflow.active_run() is None
    assert run.data.tags["efface.status"] == report.verdict.status
    assert run.data.tags["efface.method"] == "steer" and run.data.tags["efface.forgotten"] == "30"
    measured = {m.key for m in report.metrics if m.unlearned.estimate is not None and m.records == "all"}
    names = {name.split("/")[2] for name in run.data.metrics if name.startswith("audit/all/")}
    assert measured and len(names) >= len(measured)
    files = {f.path for f in client.list_artifacts(run_id, "efface")}
    assert {f"efface/{n}" for n in ("report.json", "report.html", "receipt.html", "receipt.pdf")} <= files
    (version,) = client.search_model_versions("name='digits'")
    assert version.tags["efface.run"] == run_id and version.tags["efface.status"] == report.verdict.status
    loaded = mlflow.pytorch.load_model(f"models:/digits/{version.version}")
    x = result.task.train.tensors[0][:20]
    assert torch.allclose(loaded(x), result.model(x), atol=1e-5)
    assert not list(Path(".").rglob("*.pkl")), "nothing is pickled"


def test_the_active_run_is_used_and_left_open(client: Any, report: efface.Report) -> None:
    with mlflow.start_run() as run:
        assert log(report) == run.info.run_id and mlflow.active_run() is not None
    assert client.search_registered_models() == []


def test_what_is_no_report_is_refused(client: Any, result: efface.Result) -> None:
    with pytest.raises(efface.RequestError, match="got Result"):
        log(result)  # type: ignore[arg-type]


def test_the_page_runs_in_five_lines(
    client: Any, report: efface.Report, result: efface.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efface, "audit", lambda *_, **__: report)
    run_page("mlflow", {"result": result, "test_set": None})
    assert client.search_model_versions("name='digits'")
    assert len(code_lines("mlflow")) <= 5
