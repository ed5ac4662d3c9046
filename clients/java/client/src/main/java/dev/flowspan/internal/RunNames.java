package dev.flowspan.internal;

import java.util.concurrent.ThreadLocalRandom;

/** Default names of flow runs: two words that people can tell apart and say. */
final class RunNames {
  private static final String[] ADJECTIVES = {
    "amber", "brave", "calm", "clever", "cosmic", "daring", "eager", "fabled", "gentle", "golden",
    "happy", "honest", "icy", "jolly", "keen", "lively", "lucky", "mellow", "modest", "nimble",
    "noble", "patient", "polite", "proud", "quick", "quiet", "rapid", "shiny", "silent", "sunny",
    "tidy", "witty"
  };
  private static final String[] ANIMALS = {
    "badger", "beaver", "bison", "camel", "cobra", "condor", "cricket", "dolphin", "eagle",
    "falcon", "ferret", "gecko", "heron", "ibex", "jackal", "koala", "lemur", "lynx", "magpie",
    "marmot", "moose", "newt", "ocelot", "otter", "panda", "puffin", "quail", "raven", "salmon",
    "tapir", "walrus", "yak"
  };

  private RunNames() {}

  static String random() {
    ThreadLocalRandom random = ThreadLocalRandom.current();
    return ADJECTIVES[random.nextInt(ADJECTIVES.length)]
        + "-"
        + ANIMALS[random.nextInt(ANIMALS.length)];
  }
}
