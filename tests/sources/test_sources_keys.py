import pytest

from engine.errors import ConfigError
from engine.sources.keys import optional_key, required_key


def test_required_key_that_is_missing_names_its_variable():
    with pytest.raises(ConfigError) as told:
        required_key("news", "A_KEY", "a key of example.org", {"A_KEY": "  "})
    words = "source news: the environment variable A_KEY is not set; it holds a key of example.org"
    assert str(told.value) == words


def test_key_is_stripped_and_optional_ones_may_be_missing():
    assert required_key("s", "A_KEY", "", {"A_KEY": " abc\n"}) == "abc"
    assert optional_key("s", "A_KEY", {}) == ""


@pytest.mark.parametrize("key", ["two words", "schlüssel", "a\nb"])
def test_key_that_no_header_could_carry_is_refused_without_showing_it(key):
    with pytest.raises(ConfigError, match="A_KEY holds spaces or characters") as told:
        optional_key("s", "A_KEY", {"A_KEY": key})
    assert key not in str(told.value)
