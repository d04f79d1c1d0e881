// `quiesce bench`: measurements with their definitions. Exit 1 when a target that was measured is missed, or a program
// gave a wrong result.
import { BENCHES, BenchError, benchText, makeWorld, missed, type Row } from "../bench/index.ts";
import { toJson as json } from "../report/index.ts";
import { COMMON, whole } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT, unknown } from "./errors.ts";
import { coreModule, TOP } from "./files.ts";
import type { Door } from "./output.ts";

const ROUNDS = 3;

const ARGS = {
  ...COMMON,
  what: {
    type: "positional",
    required: false,
    description: `one of ${Object.keys(BENCHES).join(", ")}; all without it`,
  },
  rounds: { type: "string", valueHint: "N", description: `samples of each figure (${ROUNDS})` },
  quick: { type: "boolean", description: "programs of an eighth of the length" },
} as const;

export const benchCommand = (door: Door): Command =>
  command("bench", "Measurements with their definitions", ARGS, async ({ args }) => {
    const rounds = whole("rounds", args.rounds, 1, 100) ?? ROUNDS;
    const names = Object.keys(BENCHES);
    if (args.what !== undefined && !Object.hasOwn(BENCHES, args.what)) {
      throw unknown("bench", args.what, names);
    }
    const chosen = Object.entries(BENCHES).filter(([n]) => [n, undefined].includes(args.what));
    let stopped = false;
    const world = makeWorld({
      top: TOP,
      core: coreModule(),
      goOn: async (what) => {
        door.progress(what);
        stopped ||= await door.interrupted();
        return !stopped;
      },
    });
    const rows: Row[] = [];
    try {
      for (const [, bench] of chosen) {
        const size = args.quick === true ? "quick" : "full";
        rows.push(...(await bench.measure(world, { rounds, size })));
      }
    } catch (e) {
      if (!(e instanceof BenchError)) throw e;
      door.raw(2, new TextEncoder().encode(`error: ${e.message}\n`));
      return EXIT.violated;
    } finally {
      world.close();
    }
    door.print(args.json === true ? json(rows) : benchText(rows));
    if (missed(rows).length > 0) return EXIT.violated;
    return stopped ? EXIT.budget : EXIT.consistent;
  });
