from flowspan import flow, get_run_logger, tags


@flow(name="größe 東京")
def size(straße):
    get_run_logger().info("> a\0b Ελλάδα עברית 😀")
    raise ValueError("no\0thing 😀")


with tags("мир", "👩‍👩‍👧‍👦"):
    size("naïve \u202e 東京", return_state=True)
