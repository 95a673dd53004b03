from pgbouncer_operator.handlers import _NoMemories


async def test_kopf_keeps_no_record_of_an_object_that_it_has_handed_on():
    memories = _NoMemories()
    seen = await memories.recall({"metadata": {"uid": "a"}}, noticed_by_listing=True)
    assert seen.noticed_by_listing
    assert not list(memories.iter_all_memories())
