// A booted kernel on which the selftests' commands can be given: insmod, rmmod, writes to sysfs, a read of /proc by a
// task. Each is one program in patchd, with the worker's rounds a virtual second apart where a test waits. The log is
// everything that was said, filtered as the selftests filter it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  call,
  log,
  readModules,
  readUint,
  sleep,
  symbolVa,
  type Program,
} from "../../src/kernel/index.ts";
import { findSymbol, type Image } from "../../src/link/index.ts";
import { seededSchedule } from "../../src/machine/index.ts";
import {
  deleteModule,
  initModule,
  klpModuleWorld,
  loadedModules,
  makeKlpSystem,
  moduleSource,
  outcome,
  paramStore,
  Session,
  stackCheckOf,
  sysfsTree,
  sysfsWrite,
  transitionWork,
  type KlpSystem,
  type ModuleSource,
  type ModuleWorld,
  type SessionSnapshot,
} from "../../src/patch/index.ts";
import { ftraceEnableSysctl } from "../../src/ftrace/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildNamed } from "../scenario/files.ts";

const CORE = new WebAssembly.Module(
  readFileSync(join(import.meta.dirname, "../../dist/core.wasm")),
);

const SYSFS = "/sys/kernel/livepatch";
const COMMAND_INSNS = 4_000_000;

/** What insmod and write(2) say of an errno. */
const SAYS: Readonly<Record<number, string>> = {
  "-16": "Device or resource busy",
  "-19": "No such device",
  "-22": "Invalid parameters",
};

/** A file of /proc that the task `cat` can read. */
export type ProcEntry = "cmdline" | "meminfo" | "module";
const PROC: Readonly<Record<ProcEntry, number>> = { cmdline: 0, meminfo: 1, module: 2 };

export class Lab {
  readonly session: Session;
  readonly klp: KlpSystem;
  readonly image: Image;
  readonly #sources: readonly ModuleSource[];
  readonly #world: ModuleWorld;
  readonly #ready: SessionSnapshot;
  #asked = 0;

  constructor(built: BuiltScenario) {
    const { image, scenario, modules } = built;
    this.image = image;
    this.#sources = Object.entries(modules).map(([name, obj]) => moduleSource(name, obj));
    this.klp = makeKlpSystem({ image, hz: scenario.hz, unwinder: "fp", sources: this.#sources });
    this.#world = klpModuleWorld(this.klp, this.#sources);
    this.session = new Session({
      core: CORE,
      image,
      ramBytes: scenario.ramMiB << 20,
      nrVcpus: 2,
      schedule: seededSchedule(1),
    });
    const stop = this.session.run(400_000_000, new Set(["ready", "bug"]));
    if (stop !== "ready") throw new Error(`no ready mark: ${stop} ${this.bugs()}`);
    this.#ready = this.session.snapshot();
  }

  /** Back to a kernel that has just booted, under another schedule. */
  reset(seed = 1): void {
    this.session.restore(this.#ready);
    this.session.reschedule(seededSchedule(seed));
    this.#asked = 0;
  }

  bugs(): string {
    return this.session
      .events()
      .bugs.map((b) => b.message)
      .join();
  }

  /** Lets patchd run a program to its end and answers what it returned. */
  do<R>(make: () => Program<R>): R {
    const got: R[] = [];
    const { session } = this;
    session.agent.clear();
    session.request({
      *make() {
        got.length = 0;
        got.push(yield* make());
        return outcome("applied", "done");
      },
      stackCheck: stackCheckOf(this.klp),
    });
    const stop = session.run(session.machine.retired + COMMAND_INSNS, new Set(["outcome", "bug"]));
    const [value] = got;
    if (stop !== "outcome" || got.length === 0) {
      throw new Error(`the command did not end: ${stop} ${this.bugs()}\n${this.log().join("\n")}`);
    }
    return value as R;
  }

  /** Everything that was said, as the selftests compare it: without what they turn off. */
  log(): readonly string[] {
    return this.session
      .events()
      .dmesg.filter((l) => l.includes("livepatch:") || l.includes("test_klp"))
      .filter((l) => !/(?:tainting|taints) kernel/.test(l))
      .filter((l) => !l.includes("klp_try_switch_task:"));
  }

  /** load_mod or load_failing_mod: answers 0 or the errno. */
  insmod(name: string, args = ""): number {
    const source = this.#sources.find((s) => s.name === name);
    if (source === undefined) throw new Error(`no module ${name}`);
    const file = `test_modules/${name}.ko`;
    const world = this.#world;
    return this.do(function* () {
      yield* log(`% insmod ${file}${args === "" ? "" : ` ${args}`}`);
      const error = yield* initModule(world, source, args);
      if (error !== 0) {
        yield* log(
          `insmod: ERROR: could not insert module ${file}: ${SAYS[error] ?? String(error)}`,
        );
      }
      return error;
    });
  }

  /** unload_mod. Answers 0 or the errno. */
  rmmod(name: string): number {
    const world = this.#world;
    return this.do(function* () {
      yield* log(`% rmmod ${name}`);
      return yield* deleteModule(world, name);
    });
  }

  /** load_lp: insmod, and the worker until the transition is over. */
  load(name: string, args = ""): void {
    const error = this.insmod(name, args);
    if (error !== 0) throw new Error(`${name} was refused: ${error}`);
    this.settle();
  }

  /** disable_lp: writes 0 to enabled and waits until the patch is gone. */
  disable(name: string): void {
    const error = this.echo(`${name}/enabled`, "0");
    if (error !== 0) throw new Error(`${name} was not disabled: ${error}`);
    this.settle();
    if (this.patches().includes(name)) throw new Error(`${name} is still there`);
  }

  /** unload_lp. */
  unload(name: string): void {
    const error = this.rmmod(name);
    if (error !== 0) throw new Error(`${name} was not unloaded: ${error}`);
  }

  /** The worker's rounds until there is no transition. */
  settle(): void {
    const { klp } = this;
    this.do(function* () {
      for (let i = 0; i < 60; i++) {
        const tried = yield* transitionWork(klp);
        if (tried === undefined || tried.remaining.length === 0) return;
        yield* sleep(klp.hz);
      }
      throw new Error("the transition does not end");
    });
  }

  /** Some rounds of the worker, whatever comes of them. */
  rounds(n: number): void {
    const { klp } = this;
    this.do(function* () {
      for (let i = 0; i < n; i++) {
        yield* transitionWork(klp);
        yield* sleep(klp.hz);
      }
    });
  }

  /** A write to a file below /sys/kernel/livepatch. Answers 0 or an errno. */
  echo(path: string, text: string): number {
    const { klp } = this;
    return this.do(function* () {
      yield* log(`% echo ${text} > ${SYSFS}/${path}`);
      return yield* sysfsWrite(klp, `${SYSFS}/${path}`, `${text}\n`);
    });
  }

  /** What a read of a file below /sys/kernel/livepatch gives; undefined when there is none. */
  cat(path: string): string | undefined {
    return this.#tree()
      .find((e) => e.path === `${SYSFS}/${path}`)
      ?.text?.trimEnd();
  }

  /** stat -c %A of a file or folder below /sys/kernel/livepatch. */
  mode(path: string): string | undefined {
    return this.#tree().find((e) => e.path === `${SYSFS}/${path}`)?.mode;
  }

  #tree(): ReturnType<typeof sysfsTree> {
    return sysfsTree(this.session.read, this.image);
  }

  /** ls /sys/kernel/livepatch. */
  patches(): readonly string[] {
    return this.#tree()
      .map((e) => /^\/sys\/kernel\/livepatch\/([^/]+)$/.exec(e.path)?.[1])
      .filter((n) => n !== undefined);
  }

  /** A write to /sys/module/NAME/parameters/PARAM. */
  setParam(module: string, name: string, value: string): number {
    const mod = this.#module(module);
    return this.do(function* () {
      yield* log(`% echo ${value} > /sys/module/${module}/parameters/${name}`);
      return yield* paramStore(mod.va, name, value);
    });
  }

  /** lsmod, in the order of loading. */
  modules(): readonly string[] {
    return this.#loaded().map((m) => m.name);
  }

  #loaded(): ReturnType<typeof loadedModules> {
    return loadedModules(readModules(this.session.read, this.image), this.#sources, this.image);
  }

  #module(name: string): ReturnType<typeof loadedModules>[number] {
    const m = this.#loaded().find((x) => x.name === name);
    if (m === undefined) throw new Error(`${name} is not loaded`);
    return m;
  }

  imageOf(module: string): Image {
    return this.#module(module).image;
  }

  /** The address of a symbol of the kernel, or of a module. */
  va(symbol: string, module?: string): bigint {
    if (module === undefined) return symbolVa(this.image, symbol);
    const s = findSymbol(this.#module(module).image, symbol);
    if (s === undefined) throw new Error(`${module} has no ${symbol}`);
    return s.va;
  }

  word(symbol: string, size: 4 | 8 = 8, module?: string): bigint {
    return readUint(this.session.read, this.va(symbol, module), size);
  }

  setWord(symbol: string, value: number): void {
    this.session.machine.write(this.va(symbol), Uint8Array.of(value & 0xff, value >> 8, 0, 0));
  }

  run(insns: number): void {
    const stop = this.session.run(this.session.machine.retired + insns, new Set(["bug"]));
    if (stop === "bug") throw new Error(this.bugs());
  }

  /** The task `cat` reads a file of /proc. Answers what it gets, without the newline, or the errno. */
  read(entry: ProcEntry): string | number {
    this.setWord("cat_entry", PROC[entry]);
    this.setWord("cat_wanted", ++this.#asked);
    for (let i = 0; this.word("cat_answered", 4) !== BigInt(this.#asked); i++) {
      if (i === 100) throw new Error("cat does not answer");
      this.run(2000);
    }
    const n = Number(BigInt.asIntN(64, this.word("cat_result")));
    if (n < 0) return n;
    return new TextDecoder("latin1").decode(this.session.read(this.va("cat_text"), n)).trimEnd();
  }

  /** sysctl kernel.ftrace_enabled=..: logged as functions.sh does. */
  ftraceEnabled(on: boolean): number {
    const { image } = this;
    return this.do(function* () {
      const error = yield* ftraceEnableSysctl(image, on);
      yield* log(
        error === 0
          ? `livepatch: kernel.ftrace_enabled = ${on ? 1 : 0}`
          : `livepatch: sysctl: setting key "kernel.ftrace_enabled": ${SAYS[error] ?? error}`,
      );
      return error;
    });
  }

  /** Calls a function of a module. */
  callIn(module: string, symbol: string): bigint {
    const va = this.va(symbol, module);
    return this.do(() => call("call_address", va));
  }
}

export async function makeLab(): Promise<Lab> {
  return new Lab(await buildNamed("livepatch"));
}
