from dataclasses import replace
from pathlib import Path

import minilm_parts as parts
import numpy as np
import pytest

from engine.errors import ConfigError
from engine.sentiment.encoder.adapter import Adapter
from engine.sentiment.encoder.graph import encoder_graph
from engine.sentiment.encoder.session import EncoderSession, cores
from engine.sentiment.encoder.tokens import Tokens
from engine.sentiment.encoder.wording import OTHER, TARGET

torch = pytest.importorskip("torch")


def _texts(count: int, seed: int = 5) -> list[Tokens]:
    draw = np.random.default_rng(seed)
    top = len(parts.VOCABULARY) + 2
    return [
        Tokens(tuple(draw.integers(4, top, draw.integers(2, 40)).tolist()), False)
        for _ in range(count)
    ]


def test_session_single_precision_equals_network_of_training() -> None:
    from engine.sentiment.training.network import AdaptedEncoder
    from engine.sentiment.training.outcome import state_of

    base, adapter = parts.encoder(2), parts.adapter(2)
    network = AdaptedEncoder(base, rank=4, dropout=0.1)
    network.load_state_dict(state_of(adapter), strict=False)
    texts = _texts(6)
    numbers = torch.zeros(6, 40, dtype=torch.int64)
    for row, text in zip(numbers, texts, strict=True):
        row[: len(text.numbers)] = torch.tensor(text.numbers)
    lengths = torch.tensor([len(text.numbers) for text in texts])

    found = EncoderSession(base, adapter, quantised=False).logits(texts)

    with torch.inference_mode():
        wanted = network(numbers, lengths).numpy() / adapter.temperature
    np.testing.assert_allclose(np.array(found), wanted, atol=2e-5)


def test_session_in_integers_stays_near_single_precision() -> None:
    base, adapter = parts.encoder(2), parts.adapter(2)
    texts = _texts(40)

    exact = np.array(EncoderSession(base, adapter, quantised=False).logits(texts))
    found = np.array(EncoderSession(base, adapter).logits(texts))

    assert np.abs(found - exact).max() < 0.2 * exact.std()


@pytest.mark.parametrize("quantised", [True, False])
def test_session_text_alone_or_in_any_company_same_bits(quantised: bool) -> None:
    session = EncoderSession(parts.encoder(), parts.adapter(), quantised=quantised, threads=3)
    texts = _texts(60)

    together = session.logits(texts)

    assert [session.logits([text])[0] for text in texts] == together
    assert session.logits(texts[::-1]) == together[::-1]
    assert session.logits(texts[:7] * 2) == together[:7] * 2


def test_graph_equal_weights_equal_bytes() -> None:
    first, second = (
        encoder_graph(parts.adapter().merged(parts.encoder()), parts.adapter().head, quantised=True)
        for _ in range(2)
    )

    assert first == second


def test_cores_worker_of_ray_keeps_to_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert cores() >= 1


def test_adapter_written_and_read_is_the_same(tmp_path: Path) -> None:
    adapter = parts.adapter()
    path = tmp_path / "new" / "minilm.safetensors"

    adapter.save(path)
    found = Adapter.load(path)

    assert found.fingerprint == adapter.fingerprint
    assert (found.version, found.temperature, found.notes) == ("test", 1.25, {"why": "a test"})
    assert [file.name for file in path.parent.iterdir()] == ["minilm.safetensors"]


def test_adapter_fingerprint_changes_with_any_value() -> None:
    adapter = parts.adapter()
    marks = adapter.marks.copy()
    marks[1, 3] += 0.5

    assert replace(adapter, marks=marks).fingerprint != adapter.fingerprint
    assert replace(adapter, temperature=2.0).fingerprint != adapter.fingerprint
    assert replace(adapter, notes={}).fingerprint == adapter.fingerprint


def test_adapter_merged_adds_its_change_and_its_marks() -> None:
    base, adapter = parts.encoder(), parts.adapter()

    found = adapter.merged(base)

    change = (adapter.changes["0.widen.up"] @ adapter.changes["0.widen.down"]).T
    np.testing.assert_allclose(
        found.layers[0].widen.weight - base.layers[0].widen.weight, change, atol=1e-6
    )
    assert (found.words[-2:] == adapter.marks).all()
    assert (found.layers[0].widen.bias == base.layers[0].widen.bias).all()


def test_adapter_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such adapter"):
        Adapter.load(tmp_path / "none.safetensors")


def test_adapter_damaged_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "minilm.safetensors"
    parts.adapter().save(path)
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(ConfigError, match="is no adapter for minilm"):
        Adapter.load(path)


def test_adapter_without_a_tensor_or_with_nan_is_refused(tmp_path: Path) -> None:
    adapter = parts.adapter()
    path = tmp_path / "minilm.safetensors"
    lacking = {name: one for name, one in adapter.changes.items() if name != "0.widen.up"}
    replace(adapter, changes=lacking).save(path)
    with pytest.raises(ConfigError, match=r"0\.widen\.up is missing"):
        Adapter.load(path)

    marks = adapter.marks.copy()
    marks[0, 0] = np.nan
    replace(adapter, marks=marks).save(path)
    with pytest.raises(ConfigError, match="marks holds values that are no numbers"):
        Adapter.load(path)


def test_adapter_for_another_base_is_refused() -> None:
    with pytest.raises(ConfigError, match="for 2 layers, the base model has 1"):
        parts.adapter(2).merged(parts.encoder(1))


def test_tokenizer_marks_are_tokens_behind_the_vocabulary(tmp_path: Path) -> None:
    from engine.sentiment.encoder.tokens import Tokenizer

    tokenizer = Tokenizer(parts.tokenizer_at(tmp_path))
    size = len(parts.VOCABULARY)

    (found,) = tokenizer([f" {TARGET} up {OTHER} down"])

    assert found == Tokens((2, size, 7, size + 1, 8, 3), False)


def test_tokenizer_long_text_is_cut_and_said_so(tmp_path: Path) -> None:
    from engine.sentiment.encoder.tokens import MAX_TOKENS, Tokenizer

    tokenizer = Tokenizer(parts.tokenizer_at(tmp_path))

    just, over = tokenizer(["up " * (MAX_TOKENS - 2), "up " * (MAX_TOKENS - 1)])

    assert (len(just.numbers), just.truncated) == (MAX_TOKENS, False)
    assert (len(over.numbers), over.truncated) == (MAX_TOKENS, True)
