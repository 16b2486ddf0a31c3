"""What efface sees in a task before anything is asked, and what is missing."""

from efface.auditing.doctor.api import doctor
from efface.auditing.doctor.examination import Examination, Fact

__all__ = ["Examination", "Fact", "doctor"]
