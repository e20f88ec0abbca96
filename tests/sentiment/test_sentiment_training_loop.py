from dataclasses import replace
from pathlib import Path

import minilm_parts as parts
import numpy as np
import pytest

from engine.errors import ConfigError
from engine.sentiment.base import LABELS
from engine.sentiment.encoder.tokens import Tokenizer
from engine.sentiment.encoder.wording import OTHER, TARGET
from engine.sentiment.training.examples import Example, balanced_weights

torch = pytest.importorskip("torch")

from engine.sentiment.training.batches import Batches  # noqa: E402  (behind the check for torch)
from engine.sentiment.training.loop import (  # noqa: E402  (behind the check for torch)
    Epoch,
    LoopSettings,
    Training,
)
from engine.sentiment.training.network import AdaptedEncoder  # noqa: E402
from engine.sentiment.training.outcome import (  # noqa: E402
    AdapterSettings,
    TrainedReader,
    device_of,
    train_minilm,
)

WORDS = {"bearish": "down crash rug falls", "neutral": "flat meeting report held",
         "bullish": "up rally moon wins"}  # fmt: skip


def _examples(count: int, seed: int = 0) -> list[Example]:
    draw = np.random.default_rng(seed)
    found = []
    for number in range(count):
        label = LABELS[number % 3]
        said = draw.choice(WORDS[label].split(), draw.integers(1, 4))
        filler = draw.choice(["bitcoin", "the market", "ether today", "news"], 2)
        found.append(Example(" ".join([*filler, *said]), label, "made"))
    return found


SETTINGS = LoopSettings(epochs=3, batch=16, learning_rate=5e-3, averaging=0.8, patience=3)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer(parts.tokenizer_at(tmp_path))


def _training(
    tokenizer: Tokenizer,
    settings: LoopSettings = SETTINGS,
    folder: Path | None = None,
    count: int = 48,
) -> Training:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        network = AdaptedEncoder(parts.encoder(), rank=4, dropout=0.1)
    return Training(network, _examples(count), _examples(12, 1), tokenizer, settings, folder)


def test_training_learns_and_its_reader_reads_what_it_never_saw(tokenizer: Tokenizer) -> None:
    base = parts.encoder()
    settings = replace(SETTINGS, epochs=4)

    outcome = train_minilm(
        _examples(120), _examples(30, 1), settings, AdapterSettings(rank=4), base, tokenizer
    )

    unseen = _examples(90, 2)
    reader = TrainedReader(outcome.adapter, base, tokenizer)
    readings = reader.score([one.text for one in unseen])
    right = sum(r is not None and r.label == e.label for r, e in zip(readings, unseen, strict=True))
    assert right >= 72
    assert reader.name == "minilm-own"
    assert reader.score(["", "https://t.co/x"]) == [None, None]
    assert outcome.epochs[-1].validation_loss < outcome.epochs[0].validation_loss


def test_training_hides_words_but_neither_ends_nor_marks(tokenizer: Tokenizer) -> None:
    texts = [f"{TARGET} up rally moon {OTHER} down", "bitcoin crash rug", "flat"] * 40
    batches = Batches([Example(text, "neutral", "made") for text in texts], tokenizer, 120)
    (places,) = batches.drawn(1)
    batch = batches.batch(places)

    hidden = batches.hidden(batch, 0.3, torch.Generator().manual_seed(1))

    changed = hidden != batch.numbers
    assert set(hidden[changed].tolist()) == {tokenizer.unknown}
    words = (batch.numbers > 3) & (batch.numbers < tokenizer.base_words)
    assert not changed[~words].any()
    assert changed.sum() / words.sum() == pytest.approx(0.3, abs=0.05)
    again = batches.hidden(batch, 0.3, torch.Generator().manual_seed(1))
    assert torch.equal(hidden, again)


def test_training_with_hidden_words_goes_another_way(tokenizer: Tokenizer) -> None:
    plain = _training(tokenizer).run()
    hiding = _training(tokenizer, replace(SETTINGS, hiding=0.3)).run()
    assert hiding.epochs != plain.epochs
    assert hiding.epochs == _training(tokenizer, replace(SETTINGS, hiding=0.3)).run().epochs


def test_training_base_weights_stay_as_they_are(tokenizer: Tokenizer) -> None:
    base = parts.encoder()
    before = base.layers[0].widen.weight.copy(), base.words.copy()
    settings = replace(SETTINGS, epochs=1)

    train_minilm(_examples(48), _examples(30), settings, AdapterSettings(4), base, tokenizer)

    assert (base.layers[0].widen.weight == before[0]).all()
    assert (base.words == before[1]).all()


def test_training_interrupted_and_resumed_same_bits(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = replace(SETTINGS, checkpoint_steps=2)
    uninterrupted = _training(tokenizer, settings).run()

    class Interrupted(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        _training(tokenizer, settings, folder).run(stop)
    seen: list[int] = []
    resumed = _training(tokenizer, settings, folder).run(lambda epoch: seen.append(epoch.number))

    assert seen == [3]
    assert resumed.epochs == uninterrupted.epochs
    for name, one in uninterrupted.state.items():
        assert torch.equal(one, resumed.state[name]), name


def test_training_interrupted_inside_an_epoch_resumes_there(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, epochs=1, checkpoint_steps=2)
    uninterrupted = _training(tokenizer, settings, count=96).run()
    run = _training(tokenizer, settings, tmp_path, 96)
    steps: list[int] = []
    own = run._step

    def killed(step: int, places: np.ndarray) -> None:
        if step == 5:
            raise KeyboardInterrupt
        own(step, places)

    monkeypatch.setattr(run, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    again = _training(tokenizer, settings, tmp_path, 96)
    inner = again._step
    monkeypatch.setattr(again, "_step", lambda step, at: (steps.append(step), inner(step, at)))

    resumed = again.run()

    assert steps == [4, 5]
    assert resumed.epochs == uninterrupted.epochs


def test_training_checkpoint_of_other_examples_is_not_taken_up(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    _training(tokenizer, replace(SETTINGS, epochs=1), tmp_path).run()
    seen: list[int] = []

    _training(tokenizer, replace(SETTINGS, epochs=1, seed=8), tmp_path).run(
        lambda epoch: seen.append(epoch.number)
    )

    assert seen == [1]


def test_training_threads_share_a_step_without_changing_its_gradient(
    tokenizer: Tokenizer,
) -> None:
    gradients = []
    for threads in (1, 3):
        run = _training(tokenizer, replace(SETTINGS, threads=threads))
        for block in run._network.modules():
            if hasattr(block, "share"):
                block.share = 0.0
        run._step(0, np.arange(16))
        gradients.append(run._parameters["head.weight"].grad)

    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


def test_training_stops_when_it_gets_no_better(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.65, 0.9])
    monkeypatch.setattr("engine.sentiment.training.loop.macro_f1", lambda *_: next(scores))

    trained = _training(tokenizer, replace(SETTINGS, epochs=5, patience=2)).run()

    assert [epoch.macro_f1 for epoch in trained.epochs] == [0.5, 0.7, 0.6, 0.65]
    assert trained.stopped_early


def test_training_begun_from_an_adapter_of_another_rank_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="rank 4, rank is 8: set rank=4"):
        train_minilm(
            _examples(30), _examples(30), SETTINGS, AdapterSettings(8), parts.encoder(),
            tokenizer, init=parts.adapter(),
        )  # fmt: skip


def test_batches_an_epoch_holds_every_example_once(tokenizer: Tokenizer) -> None:
    batches = Batches(_examples(100), tokenizer, 16)

    drawn = batches.drawn(3)

    assert sorted(np.concatenate(drawn).tolist()) == list(range(100))
    assert [len(one) for one in drawn].count(16) == 6
    assert any((a != b).any() for a, b in zip(drawn, batches.drawn(4), strict=True))


def test_balanced_weights_rare_label_weighs_more_and_the_mean_is_one() -> None:
    examples = [Example("x", "bearish", "a")] * 10 + [Example("x", "neutral", "a")] * 80
    examples += [Example("x", "bullish", "a")] * 10

    bearish, neutral, bullish = balanced_weights(examples, 1.0)

    assert bearish == bullish == pytest.approx(8 * neutral)
    assert 0.1 * bearish + 0.8 * neutral + 0.1 * bullish == pytest.approx(1.0)
    assert balanced_weights(examples, 0.0) == pytest.approx((1.0, 1.0, 1.0))


def test_device_of_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert device_of("auto") == device_of("cpu") == "cpu"
    with pytest.raises(ConfigError, match="torch finds no GPU"):
        device_of("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto") == "cuda"
