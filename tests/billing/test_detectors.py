"""What holds for every detector, so that adding one is one file, its line in the list, and one test."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

from actors.billing import detectors
from actors.billing.detectors import DETECTORS
from actors.billing.detectors.base import Detector, DiaryDetector, LedgerDetector, PatientDetector, Rules
from config.settings import SIGNALS, BillingAlerts


def test_every_detector_that_exists_is_in_the_list() -> None:
    found = set()
    for module in pkgutil.iter_modules(detectors.__path__):
        names = vars(importlib.import_module(f"{detectors.__name__}.{module.name}")).values()
        found |= {name for name in names if inspect.isclass(name) and issubclass(name, Detector)}
    assert found - {Detector, DiaryDetector, LedgerDetector, PatientDetector} == set(DETECTORS)
    assert list(DETECTORS) == sorted(DETECTORS, key=lambda detector: detector.__name__)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_detector_has_a_file_and_a_test_named_for_its_signal(detector: type[Detector]) -> None:
    assert detector.__module__.rpartition(".")[2] == detector.signal
    assert (Path(__file__).parent / f"test_{detector.signal}.py").exists()
    assert detector.signal in SIGNALS | {"thin_events"}  # which is about the endpoint, not about the business
    assert detector.__doc__


def test_rules_that_were_never_told_are_those_of_the_configuration() -> None:
    assert Rules() == Rules.of(BillingAlerts().model_dump(mode="json"))
