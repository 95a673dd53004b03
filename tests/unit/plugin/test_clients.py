from tests.unit.plugin.world import World, path, serve, served

SHOP = ("shop", "shop", (20, 12, 4.5, 13, 0))
REPORT = ("shop", "report", (2, 0, 0, 0, 1))


def test_figures_of_pods_are_summed_by_database_and_login_and_those_that_wait_stand_first(world: World) -> None:
    world.put(served())
    serve(world, "a", [REPORT, SHOP])
    serve(world, "b", [("shop", "shop", (11, 1, 7.25, 11, 2))])
    answer = world.run("clients", "shop-pool")
    assert answer.code == 0
    assert [line.split() for line in answer.lines[1:]] == [
        ["shop", "shop", "31", "13", "7.2s", "24", "2"],
        ["shop", "report", "2", "0", "-", "0", "1"],
    ]


def test_a_pod_that_does_not_answer_is_named_and_the_others_are_counted(world: World) -> None:
    world.put(served())
    serve(world, "a", [SHOP])
    serve(world, "b", [SHOP])
    world.write(raw={path("a"): world.read()["raw"][path("a")]})
    answer = world.run("clients", "shop-pool", "-o", "json")
    assert answer.code == 0
    (line,) = answer.json["lines"]
    assert (line["clients"], line["waiting"], line["oldest_wait"]) == (20, 12, 4.5)
    (finding,) = answer.json["findings"]
    assert (finding["severity"], finding["subject"], finding["reason"]) == ("unknown", "Pod b", "ServiceUnavailable")
    assert "unknown: Pod b: ServiceUnavailable" in world.run("clients", "shop-pool").text


def test_somebody_without_the_right_to_ask_pods_is_told_which_right_it_is(world: World) -> None:
    world.put(served())
    serve(world, "a", [SHOP])
    world.write(raw={path("a"): "forbidden"})
    answer = world.run("clients", "shop-pool")
    assert (answer.code, answer.text) == (2, "")
    assert "`kubectl auth can-i get pods/proxy`" in answer.errors


def test_a_pool_without_pods_has_no_clients(world: World) -> None:
    world.put(served())
    assert world.run("clients", "shop-pool", "-o", "json").json["lines"] == []
