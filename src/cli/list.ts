// `quiesce list`: the names that the other commands take.
import { toJson as json } from "../report/index.ts";
import { COMMON } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT } from "./errors.ts";
import { MECHANISM_NAMES, UNWINDER_NAMES } from "./names.ts";
import type { Door } from "./output.ts";
import { scenarioNames } from "./scenarios.ts";

export const listCommand = (door: Door): Command =>
  command("list", "Names of the scenarios, mechanisms and unwinders", COMMON, ({ args }) => {
    const names = {
      scenarios: scenarioNames(),
      hazards: [],
      mechanisms: MECHANISM_NAMES,
      unwinders: UNWINDER_NAMES,
    };
    const text = Object.entries(names)
      .filter(([, list]) => list.length > 0)
      .map(([what, list]) => `${`${what}:`.padEnd(12)} ${list.join(" ")}\n`);
    door.print(args.json === true ? json(names) : text.join(""));
    return EXIT.consistent;
  });
