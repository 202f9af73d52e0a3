"""What the tests of several trainings need."""

from collections.abc import Callable

import pytest

from facexai.training import fit as loop


@pytest.fixture
def interrupted(monkeypatch) -> Callable[[Callable[[], object]], None]:
    """Run a training that is interrupted, as by Ctrl-C, after its eighth step."""

    def run(train: Callable[[], object]) -> None:
        factor, calls = loop.lr_factor, []

        def interrupt(*arguments):
            calls.append(1)
            if len(calls) > 8:
                raise KeyboardInterrupt
            return factor(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "lr_factor", interrupt)
            with pytest.raises(KeyboardInterrupt):
                train()

    return run
