"""`python -m efface`."""

from efface.cli.main import app

if __name__ == "__main__":
    app(prog_name="efface")
