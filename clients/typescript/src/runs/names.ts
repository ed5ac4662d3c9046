/** Names of runs: two words for flow runs; task runs are numbered. */

const FIRST = (
  "amber azure bold brave breezy bright brisk calm clever coral crisp daring eager fair fancy fond " +
  "frank fresh gentle glad golden happy hardy honest jolly keen kind lively lucid lucky mellow merry " +
  "mild neat nimble olive plucky proud quick quiet rapid ready rosy rustic serene sharp silent smooth " +
  "snug solar spry steady sturdy sunny swift tidy upbeat vivid warm wise witty"
).split(" ");
const SECOND = (
  "badger bear beaver bison boar camel caribou condor coot crab crane crow deer dingo dove duck eagle " +
  "egret elk falcon ferret finch fox gecko gibbon goose grouse hare hawk heron hippo ibis jackal jay " +
  "kiwi koala lark lemur lion lynx magpie marten moose moth newt ocelot oriole otter owl panda puffin " +
  "quail raven robin salmon seal shark skua stork swan tapir tern toad trout turtle viper walrus wolf"
).split(" ");

/** Return a random name such as "brave-otter". */
export function petName(random: () => number = Math.random): string {
  const pick = (words: string[]) => words[Math.floor(random() * words.length)];
  return `${pick(FIRST)}-${pick(SECOND)}`;
}
