// A booted kernel whose patchd runs programs of steps one after the other, for tests of what the kernel offers to
// patching. It is not a mechanism and has no verdict.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readUint, symbolVa, type Program } from "../../src/kernel/index.ts";
import { seededSchedule, type Adversary } from "../../src/machine/index.ts";
import { outcome, Session } from "../../src/patch/index.ts";
import type { BuiltScenario, Scenario } from "../../src/scenario/index.ts";
import { loadScenario } from "../../src/scenario/index.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";

const CORE = new WebAssembly.Module(
  readFileSync(join(import.meta.dirname, "../../dist/core.wasm")),
);

export class Kernel {
  readonly built: BuiltScenario;
  readonly session: Session;

  constructor(built: BuiltScenario, vcpus = 2, seed = 1, adversary: Adversary = {}) {
    this.built = built;
    this.session = new Session({
      core: CORE,
      image: built.image,
      ramBytes: built.scenario.ramMiB << 20,
      nrVcpus: vcpus,
      schedule: seededSchedule(seed),
      adversary,
    });
    const stop = this.session.run(400_000_000, new Set(["ready", "bug"]));
    if (stop !== "ready") throw new Error(`no ready mark: ${stop} ${this.bugs().join()}`);
  }

  get image(): BuiltScenario["image"] {
    return this.built.image;
  }

  bugs(): readonly string[] {
    return this.session.events().bugs.map((b) => b.message);
  }

  klog(): readonly string[] {
    return this.session.events().klog;
  }

  /** Lets patchd run a program to its end and answers what it returned. */
  do<R>(make: () => Program<R>, insns = 3_000_000): R {
    const got: R[] = [];
    this.session.agent.clear();
    this.session.request(function* () {
      got.length = 0;
      got.push(yield* make());
      return outcome("applied", "done");
    });
    const stop = this.session.run(
      this.session.machine.retired + insns,
      new Set(["outcome", "bug"]),
    );
    const [value] = got;
    if (stop !== "outcome" || got.length === 0) {
      throw new Error(`the program did not end: ${stop} ${this.bugs().join()}`);
    }
    return value as R;
  }

  run(insns: number): void {
    this.session.run(this.session.machine.retired + insns);
  }

  va(symbol: string): bigint {
    return symbolVa(this.image, symbol);
  }

  word(symbol: string, size = 8): bigint {
    return readUint(this.session.read, this.va(symbol), size);
  }
}

/** A scenario with some of its numbers changed and kernel code of the test's own. */
export async function buildWith(
  name: string,
  text = "",
  change: Partial<Scenario> = {},
): Promise<BuiltScenario> {
  const { sources } = loadScenario(name, kernelFile);
  return buildNamed(name, {
    ...change,
    sources: text === "" ? sources : [...sources, { name: "test.S", text }],
  });
}
