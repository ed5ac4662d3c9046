#!/bin/sh
# Measures the client against the service at FLOWSPAN_ADDRESS: one line of JSON per figure.
set -eu
cd "$(dirname "$0")"
./mvnw --quiet --batch-mode package -Dmaven.test.skip -Dmaven.javadoc.skip -Dmaven.source.skip \
  org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath \
  -Dmdep.outputFile=target/classpath -Dmdep.includeScope=runtime >&2
exec java -cp "examples/target/classes:$(cat examples/target/classpath)" \
  dev.flowspan.examples.Bench "$@"
