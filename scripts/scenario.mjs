// What campaigns on a scenario share: the scenario built and booted from dist/, and their arguments. It runs none.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const door = (name) => import(`../dist/src/${name}/index.js`);

/** A whole number above 0 from the command line. */
export function number(name, text, otherwise) {
  if (text === undefined) return otherwise;
  if (/^[1-9][0-9]*$/.test(text)) return Number(text);
  process.stderr.write(`error: ${name}: '${text}' is not a whole number above 0\n`);
  process.exit(2);
}

/** Mechanisms by names with commas; those that promise something when there are none. */
export async function mechanismsNamed(text = "kpatch,simple") {
  const { MECHANISMS } = await door("patch");
  return text.split(",").map((name) => {
    const m = MECHANISMS[name];
    if (m !== undefined) return m;
    process.stderr.write(
      `error: mechanism '${name}', expected ${Object.keys(MECHANISMS).join(", ")}\n`,
    );
    process.exit(2);
  });
}

function files(path) {
  const full = join(top, "kernels", path);
  return existsSync(full) ? readFileSync(full, "utf8") : undefined;
}

/** The text of a file of kernels/. */
export function kernelText(path) {
  return files(path) ?? "";
}

/** A scenario at its ready mark, changed before it is built, with the doors of exploration and report. */
export async function load(name, { vcpus, change = (s) => s } = {}) {
  const [asm, scenario, kernel, explore, report] = await Promise.all(
    ["asm", "scenario", "kernel", "explore", "report"].map(door),
  );
  const built = scenario.buildScenario(change(scenario.loadScenario(name, files)), {
    assembler: await asm.makeAssembler(),
    generated: { "asm-offsets.inc": kernel.asmOffsetsInc() },
  });
  const core = new WebAssembly.Module(readFileSync(join(top, "dist/core.wasm")));
  return {
    explore,
    report,
    prepared: explore.prepare(built, core, vcpus === undefined ? {} : { nrVcpus: vcpus }),
  };
}
