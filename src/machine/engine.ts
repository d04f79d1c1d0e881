// What the host asks of V8 for the core: flags before the core is compiled, and the optimizing compiler for its loop once a program
// is longer than the shortest ones. Nothing depends on either but the speed.

/**
 * As flags of node or for `v8.setFlagsFromString`. The interpreter's loop is one large function. V8 counts the bytes that it
 * jumps back over and would begin to optimize it within some hundred instructions; with this budget it never comes before
 * `optimize`. For a function that large it would take a simpler register allocation, in which every value lives in memory.
 * Where it rotates a loop, the loop's head, which every micro-op comes by, is left unaligned. And it looks at the stack's limit
 * in every turn of a loop, which serves recursion and the interruption of loops that never end: the core has neither.
 */
const ENGINE_FLAGS = [
  "--wasm-tiering-budget=500000000",
  "--no-turbo-use-mid-tier-regalloc-for-huge-functions",
  "--no-turbo-loop-rotation",
  "--no-wasm-stack-checks",
];

/** Instructions that are executed before the loop is optimized. Its compiler takes as long as the slow form takes for some millions more. */
const SHORT_RUN = 1_000_000;

type Compile = (f: unknown) => void;

const engine: { compile?: Compile } = {};
const optimized = new WeakSet<WebAssembly.Module>();

/** Prepares the engine of this process; `setFlag` is `v8.setFlagsFromString`. For a door, before it compiles the core. */
export function prepareEngine(setFlag: (flag: string) => void): void {
  ENGINE_FLAGS.forEach(setFlag);
  // The function is made where it is called: V8 throws away the code of one that waits, and would parse it anew without the flag.
  const natives = (f?: unknown): void => {
    setFlag("--allow-natives-syntax");
    try {
      const tierUp = new Function("f", "%WasmTierUpFunction(f)") as Compile;
      if (f !== undefined) tierUp(f);
    } finally {
      setFlag("--no-allow-natives-syntax");
    }
  };
  try {
    natives();
    engine.compile = natives;
  } catch {
    // An engine without it optimizes when its own count says so.
  }
}

/** How many instructions a machine of this module executes before it asks for `optimize`. */
export function shortRun(module: WebAssembly.Module): number {
  return engine.compile === undefined || optimized.has(module) ? 0 : SHORT_RUN;
}

/**
 * Optimizes a function of a module now, for all its instances. The engine's own way does it in another thread while the slow form
 * goes on, which costs the processor twice and gains little. Does nothing in a process that was not prepared.
 */
export function optimize(module: WebAssembly.Module, f: unknown): void {
  if (optimized.has(module)) return;
  optimized.add(module);
  engine.compile?.(f);
}
