// One subcommand as main sees it: its help and its run, with citty and the types of its arguments inside.
import type { ArgsDef, CommandDef } from "citty";
import { defineCommand, renderUsage, runCommand } from "citty";
import { checkWords } from "./args.ts";
import { EXIT } from "./errors.ts";
import type { Door } from "./output.ts";

export interface Command {
  readonly help: () => Promise<string>;
  readonly run: (words: readonly string[]) => Promise<number>;
  /** The words that are the command's, where those of another program follow them. */
  readonly own?: (words: readonly string[]) => readonly string[];
}

/** Makes a command that speaks through the door. */
export type Maker = (door: Door) => Command;

/** Wraps a definition; its run answers the exit code, and no exit code is success. */
export function command<const T extends ArgsDef>(
  name: string,
  description: string,
  args: T,
  run: NonNullable<CommandDef<T>["run"]>,
): Command {
  const def = defineCommand({ meta: { name, description }, args, run });
  return {
    help: () => renderUsage(def, { meta: { name: "quiesce" } }),
    async run(words) {
      checkWords(name, words, args);
      const { result } = await runCommand(def, { rawArgs: [...words] });
      return typeof result === "number" ? result : EXIT.consistent;
    },
  };
}
