from dataclasses import dataclass, field

from pgbouncer_operator.engine.cache import Store


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    uid: str
    resource_version: int = field(compare=False)
    owner: str = ""
    namespace: str = "ns"


A = ("ns", "a")
B = ("ns", "b")


def store(*things: Thing) -> Store[Thing]:
    filled = Store[Thing](index=lambda thing: [thing.owner] if thing.owner else [])
    for thing in things:
        filled.put(thing)
    return filled


def test_an_older_version_never_replaces_a_newer_one() -> None:
    things = store(Thing("a", "1", 10, owner="new"))
    assert not things.put(Thing("a", "1", 9, owner="old"))
    assert things.find("new") == (Thing("a", "1", 10, owner="new"),)
    assert things.find("old") == ()


def test_versions_are_compared_as_numbers() -> None:
    things = store(Thing("a", "1", 9))
    assert things.put(Thing("a", "1", 10, owner="x"))


def test_a_new_version_that_changes_nothing_wakes_nobody_but_counts_as_known() -> None:
    things = store(Thing("a", "1", 10))
    assert not things.put(Thing("a", "1", 20))
    assert not things.put(Thing("a", "1", 15, owner="late"))


def test_a_successor_of_the_same_name_replaces_its_predecessor_and_late_news_of_that_is_ignored() -> None:
    things = store(Thing("a", "1", 10))
    assert things.put(Thing("a", "2", 20))
    assert not things.remove(A, 15)
    assert not things.put(Thing("a", "1", 12))
    assert things.get(A) == Thing("a", "2", 20)


def test_an_answer_that_comes_after_the_deletion_does_not_raise_the_dead() -> None:
    things = store(Thing("a", "1", 10))
    assert things.remove(A, 30)
    assert not things.put(Thing("a", "1", 20))
    assert not things.put(Thing("a", "0", 5))
    assert things.get(A) is None
    assert things.put(Thing("a", "2", 31))


def test_an_object_that_lost_its_label_is_stored_at_once_when_it_has_it_back() -> None:
    things = store(Thing("a", "1", 10))
    assert things.remove(A, 20), "a watch brings the change of labels as a deletion, with the version of that write"
    assert not things.put(Thing("a", "1", 19)), "an answer to an earlier write"
    assert things.put(Thing("a", "1", 21))
    assert things.get(A) == Thing("a", "1", 21)


def test_a_late_event_of_a_lost_label_does_not_remove_an_object_that_has_it_back() -> None:
    things = store(Thing("a", "1", 10))
    assert not things.put(Thing("a", "1", 30)), "the answer to the write that gave the label back"
    assert not things.remove(A, 20)
    assert things.get(A) == Thing("a", "1", 30)


def test_a_deletion_seen_before_the_creation_wins() -> None:
    things = store()
    assert not things.remove(A, 30)
    assert not things.put(Thing("a", "1", 20))


def test_the_index_follows_changes_and_deletions() -> None:
    things = store(Thing("a", "1", 1, owner="p"), Thing("b", "2", 2, owner="p"))
    assert [thing.name for thing in things.find("p")] == ["a", "b"]
    things.put(Thing("a", "1", 3, owner="q"))
    things.remove(B, 4)
    assert things.find("p") == ()
    assert [thing.name for thing in things.find("q")] == ["a"]


def test_a_list_adds_changes_and_removes_and_names_exactly_those() -> None:
    things = store(Thing("a", "1", 1), Thing("b", "2", 2), Thing("c", "3", 3))
    differing = things.replace([Thing("a", "1", 1), Thing("b", "2", 9, owner="x"), Thing("d", "4", 8)], listed_at=10)
    assert differing == {("ns", "b"), ("ns", "c"), ("ns", "d")}
    assert things.keys() == (("ns", "a"), ("ns", "b"), ("ns", "d"))


def test_a_stale_list_neither_removes_nor_reverts_what_is_newer() -> None:
    things = store(Thing("a", "1", 50), Thing("b", "2", 51, owner="new"))
    assert things.replace([Thing("b", "2", 20, owner="old")], listed_at=40) == set()
    assert len(things) == 2
    assert things.find("new") != ()


def test_a_stale_list_does_not_raise_the_dead() -> None:
    things = store(Thing("a", "1", 10))
    things.remove(A, 30)
    assert things.replace([Thing("a", "1", 10)], listed_at=20) == set()
    assert things.get(A) is None


def test_graves_do_not_pile_up() -> None:
    things = store()
    for number in range(100):
        things.remove(("ns", str(number)), 10 + number)
    things.replace([], listed_at=200)
    things.replace([], listed_at=300)
    assert things.put(Thing("0", "0", 5)), "two lists later the grave is gone and any version is news"


def test_a_store_is_synced_after_its_first_list_and_not_by_events() -> None:
    things = store(Thing("a", "1", 1))
    assert not things.synced
    things.replace([], listed_at=0)
    assert things.synced


def test_a_list_that_is_older_than_the_list_before_voids_everything() -> None:
    """The cluster's data was restored from a backup: versions go back, and later writes have lower ones."""
    things = Store[Thing]()
    things.replace([Thing("a", "1", 90), Thing("gone", "2", 95)], listed_at=100)
    things.remove(("ns", "deleted"), 99)
    assert things.replace([Thing("a", "1", 40)], listed_at=50) == {("ns", "a"), ("ns", "gone")}
    assert things.keys() == (("ns", "a"),)
    assert things.put(Thing("a", "1", 51, owner="new"))
    assert things.put(Thing("deleted", "3", 52))


def test_objects_of_a_namespace_that_cannot_be_listed_are_unknown_and_stay() -> None:
    things = Store[Thing]()
    things.replace([Thing("a", "1", 10), Thing("b", "2", 11)], listed_at=20)
    assert things.replace([], listed_at=30, unlisted={"ns"}) == set()
    assert len(things) == 2
