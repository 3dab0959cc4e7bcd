"""What the store of API keys does."""

from pipeline.api_keys import Scope, make_key


def test_a_key_is_kept_without_its_secret(keys):
    text, key = make_key("Bäckerei «Süß»", [Scope.READ, Scope.INGEST])
    keys.save(key)
    assert keys.find(key.key_id) == key
    assert text.split("_", 2)[2] not in repr(keys.find(key.key_id))
    assert keys.find("nobody") is None


def test_keys_are_listed_as_they_were_made(keys):
    made = [make_key(name, [Scope.READ])[1] for name in ("one", "two", "three")]
    for key in reversed(made):
        keys.save(key)
    assert [key.name for key in keys.all()] == ["one", "two", "three"]


def test_a_revoked_key_stays_revoked_since_the_first_time(keys):
    text, key = make_key("one", [Scope.ADMIN])
    keys.save(key)
    assert keys.find(key.key_id).is_that(text)
    assert keys.revoke(key.key_id)
    first = keys.find(key.key_id)
    assert first.revoked_at >= key.created_at
    assert not first.is_that(text)
    assert keys.revoke(key.key_id)
    assert keys.find(key.key_id) == first
    assert not keys.revoke("nobody")


def test_the_store_answers(keys):
    keys.check()
    assert keys.version()
