from flowspan.variables import Variable

input()
print(">", Variable.get("city")["name"])
Variable.set("city", {"name": "Paris"}, overwrite=True)
print(">", Variable.get("city")["name"])
Variable.unset("city")
print(">", "none" if Variable.get("city") is None else "still there")
