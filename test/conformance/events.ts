// The lines that a kernel with livepatch prints, by the codes in which a row of the selftests is written: each row's log
// is expanded from its codes by this table, and never recorded from a run.

/** What livepatch says, by code; p is the patch's module, a what follows the code. */
const LINES: Readonly<Record<string, (p: string, a: string) => string>> = {
  E: (p) => `livepatch: enabling patch '${p}'`,
  "I+": (p) => `livepatch: '${p}': initializing patching transition`,
  "I-": (p) => `livepatch: '${p}': initializing unpatching transition`,
  "S+": (p) => `livepatch: '${p}': starting patching transition`,
  "S-": (p) => `livepatch: '${p}': starting unpatching transition`,
  "C+": (p) => `livepatch: '${p}': completing patching transition`,
  "C-": (p) => `livepatch: '${p}': completing unpatching transition`,
  "D+": (p) => `livepatch: '${p}': patching complete`,
  "D-": (p) => `livepatch: '${p}': unpatching complete`,
  X: (p) => `livepatch: '${p}': canceling patching transition, going to unpatch`,
  R: (p) => `livepatch: '${p}': reversing transition from patching to unpatching`,
  A: (p, m) => `livepatch: applying patch '${p}' to loading module '${m}'`,
  V: (p, m) => `livepatch: reverting patch '${p}' on unloading module '${m}'`,
  F: (p) => `livepatch: failed to enable patch '${p}'`,
  Fo: (_, o) => `livepatch: failed to patch object '${o}'`,
  Ff: (_, a) => {
    const [f = "", e = ""] = a.split(",");
    return `livepatch: failed to register ftrace handler for function '${f}' (${e})`;
  },
  Fp: (_, o) => `livepatch: pre-patch callback failed for object '${o}'`,
  Fm: (p, m) => `livepatch: patch '${p}' failed for module '${m}', refusing to load module '${m}'`,
  NC: (p) =>
    `livepatch: Livepatch patch (${p}) is not compatible with the already installed livepatches.`,
  force: () => "livepatch: forcing remaining tasks to the patched state",
  signal: () => "livepatch: signaling remaining tasks",
  "pre+": (p, o) => `${p}: pre_patch_callback: ${object(o)}`,
  "post+": (p, o) => `${p}: post_patch_callback: ${object(o)}`,
  "pre-": (p, o) => `${p}: pre_unpatch_callback: ${object(o)}`,
  "post-": (p, o) => `${p}: post_unpatch_callback: ${object(o)}`,
};

const STATES: Readonly<Record<string, string>> = {
  LIVE: "[MODULE_STATE_LIVE] Normal state",
  COMING: "[MODULE_STATE_COMING] Full formed, running module_init",
  GOING: "[MODULE_STATE_GOING] Going away",
};

/** "vmlinux", or "MODULE LIVE" and so on. */
function object(text: string): string {
  const [name = "", state = ""] = text.split(" ");
  return state === "" ? name : `${name} -> ${STATES[state] ?? state}`;
}

/** Runs of codes that have a name of their own. */
const NAMED: Readonly<Record<string, string>> = {
  ON: "E I+ S+ C+ D+",
  OFF: "I- S- C- D-",
};

/**
 * The lines of a sequence of codes, separated by spaces; an argument follows in parentheses and may contain spaces.
 *
 * p  the livepatch module that they are of
 */
export function lines(p: string, codes: string): readonly string[] {
  return [...codes.matchAll(/([A-Za-z]+[+-]?)(?:\(([^)]*)\))?/g)].flatMap(
    ([, code = "", a = ""]) => {
      const named = NAMED[code];
      if (named !== undefined) return lines(p, named);
      const line = LINES[code];
      if (line === undefined) throw new Error(`no event code ${code}`);
      return [line(p, a)];
    },
  );
}

/** What the scripts themselves write to the log. */
export const insmod = (name: string, args = ""): string =>
  `% insmod test_modules/${name}.ko${args === "" ? "" : ` ${args}`}`;
export const rmmod = (name: string): string => `% rmmod ${name}`;
export const echo = (value: string, path: string): string =>
  `% echo ${value} > /sys/kernel/livepatch/${path}`;
export const failedInsmod = (name: string, why: string): string =>
  `insmod: ERROR: could not insert module test_modules/${name}.ko: ${why}`;

/** Loading a livepatch, disabling it, and unloading its module, when nothing else is said. */
export const on = (p: string, args = ""): readonly string[] => [insmod(p, args), ...lines(p, "ON")];
export const off = (p: string): readonly string[] => [
  echo("0", `${p}/enabled`),
  ...lines(p, "OFF"),
];
