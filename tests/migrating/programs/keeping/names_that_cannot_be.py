"""A key or a name that no artifact or variable can have is refused, and finds nothing."""

import asyncio

from prefect.artifacts import Artifact, create_markdown_artifact
from prefect.variables import Variable


def tried(ask):
    try:
        print(ask())
    except ValueError:
        print("refused")


for key in ("under_score", "Upper", "sp ace", "a.b", "a/b", "ümlaut", "a-b", "1"):
    print(key, Artifact.get(key))
    tried(lambda: create_markdown_artifact("x", key=key) is not None)
    tried(lambda: Artifact.get_or_create(key=key, data="1")[1])
    tried(lambda: Artifact(key=key, type="markdown", data="1").key)
    print(Artifact.get(key) is not None)

for name in ("under_score", "Upper", "sp ace", "", "a.b", "a/b", "a-b", "a" * 256):
    print(name[:9], Variable.get(name, default="default"))
    if name:
        tried(lambda: Variable.set(name, 1).value)
    print(Variable.get(name), Variable.unset(name))

create_markdown_artifact("last", key="z")
print(Artifact.get().key, Artifact.get_or_create(data="1")[1])


async def main():
    print(await Artifact.aget("under_score"), (await Artifact.aget("a-b")).key)
    try:
        await Artifact.aget_or_create(key="under_score", data="1")
    except ValueError:
        print("refused")
    print((await Artifact.aget_or_create(key="fresh", data="1"))[1])
    print(await Variable.aget("Upper", default="default"), await Variable.aunset("Upper"))


asyncio.run(main())

# prints: under_score None
# prints: refused
# prints: refused
# prints: refused
# prints: False
# prints: Upper None
# prints: refused
# prints: refused
# prints: refused
# prints: False
# prints: sp ace None
# prints: refused
# prints: refused
# prints: refused
# prints: False
# prints: a.b None
# prints: refused
# prints: refused
# prints: refused
# prints: False
# prints: a/b None
# prints: refused
# prints: refused
# prints: refused
# prints: False
# prints: ümlaut None
# prints: refused
# prints: refused
# prints: refused
# prints: False
# prints: a-b None
# prints: True
# prints: False
# prints: a-b
# prints: True
# prints: 1 None
# prints: True
# prints: False
# prints: 1
# prints: True
# prints: under_sco default
# prints: 1
# prints: 1 True
# prints: Upper default
# prints: refused
# prints: None False
# prints: sp ace default
# prints: refused
# prints: None False
# prints:  default
# prints: None False
# prints: a.b default
# prints: refused
# prints: None False
# prints: a/b default
# prints: refused
# prints: None False
# prints: a-b default
# prints: 1
# prints: 1 True
# prints: aaaaaaaaa default
# prints: refused
# prints: None False
# prints: z False
# prints: None a-b
# prints: refused
# prints: True
# prints: default False
