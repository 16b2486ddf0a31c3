"""`python -m efface`, and what launchers of several processes take: `accelerate launch -m efface unlearn ...`."""

from efface.cli.main import app

if __name__ == "__main__":
    app(prog_name="efface")
