// Macros of GNU as: parsing a definition's parameters, a call's arguments, and substitution. Keeping and
// executing them is the driver's.
import { Reason } from "./errors.ts";
import type { Statement } from "./source.ts";
import { stringEnd } from "./source.ts";

/** A parameter: `name`, `name=default`, `name:req`, `name:vararg`. */
export interface MacroParam {
  readonly name: string;
  readonly fallback: string;
  readonly kind: "plain" | "req" | "vararg";
}

/** A macro as defined. */
export interface Macro {
  readonly name: string;
  readonly params: readonly MacroParam[];
  readonly body: readonly Statement[];
}

// x86's extra_symbol_chars join words too, so a space before them separates arguments (gas/app.c).
const WORD = /[\w.$*%\-([{\\@]/;

/** Drops whitespace as gas's scrubber does: one space stays between two words. */
export function scrub(text: string): string {
  let out = "";
  let i = 0;
  while (i < text.length) {
    const c = text[i] ?? "";
    if (c === '"') {
      const end = stringEnd(text, i);
      const stop = end < 0 ? text.length : end;
      out += text.slice(i, stop);
      i = stop;
    } else if (c === "'" && i + 1 < text.length) {
      const escaped = text[i + 1] === "\\";
      const value = escaped ? text.charCodeAt(i + 2) : text.charCodeAt(i + 1);
      i += escaped ? 3 : 2;
      if (text[i] === "'") i++;
      out += escaped ? text.slice(i - 3, i) : String(value);
    } else if (/\s/.test(c)) {
      while (i < text.length && /\s/.test(text[i] ?? "")) i++;
      const before = out.slice(-1);
      const after = text[i] ?? "";
      const keepBefore = WORD.test(before) || before === '"';
      if (keepBefore && (WORD.test(after) || after === '"')) out += " ";
    } else {
      out += c;
      i++;
    }
  }
  return out;
}

/** Splits scrubbed arguments: a comma always separates, a space outside brackets too. */
export function splitArguments(scrubbed: string): string[] {
  const parts: string[] = [];
  if (scrubbed === "") return parts;
  let depth = 0;
  let current = "";
  for (let i = 0; i < scrubbed.length; i++) {
    const c = scrubbed[i] ?? "";
    if (c === '"') {
      const end = stringEnd(scrubbed, i);
      const stop = end < 0 ? scrubbed.length : end;
      current += scrubbed.slice(i, stop);
      i = stop - 1;
    } else if (c === "," || (c === " " && depth === 0)) {
      parts.push(current);
      current = "";
      depth = c === "," ? 0 : depth;
    } else {
      if (c === "(" || c === "[") depth++;
      else if (c === ")" || c === "]") depth--;
      current += c;
    }
  }
  parts.push(current);
  return parts;
}

/** A string argument without its quotes. */
export function unquote(arg: string): string {
  return arg.length >= 2 && arg.startsWith('"') && stringEnd(arg, 0) === arg.length
    ? arg.slice(1, -1).replace(/\\(["\\])/g, "$1")
    : arg;
}

/** Parses what follows `.macro`: a name and parameters apart by commas or spaces. */
export function parseMacroHead(rest: string): Pick<Macro, "name" | "params"> {
  const m = /^([A-Za-z_.$][\w.$]*)\s*,?\s*/.exec(rest.trim());
  if (m?.[1] === undefined) throw new Reason(".macro needs a name");
  const text = rest.trim().slice(m[0].length);
  const params: MacroParam[] = [];
  let i = 0;
  const space = (): void => {
    while (i < text.length && /\s/.test(text[i] ?? "")) i++;
  };
  while (i < text.length) {
    const p = /^([A-Za-z_.$][\w.$]*)/.exec(text.slice(i));
    if (p?.[1] === undefined) throw new Reason(`bad parameter at "${text.slice(i)}"`);
    const name = p[1];
    if (params.some((q) => q.name === name)) throw new Reason(`parameter ${name} stands twice`);
    i += name.length;
    space();
    let kind: MacroParam["kind"] = "plain";
    if (text[i] === ":") {
      const q = /^:\s*(req|vararg)\b/.exec(text.slice(i));
      if (q?.[1] !== "req" && q?.[1] !== "vararg")
        throw new Reason(`bad qualifier of ${name}: expected :req or :vararg`);
      kind = q[1];
      i += q[0].length;
      space();
    }
    let fallback = "";
    if (text[i] === "=") {
      i++;
      space();
      if (text[i] === '"') {
        const end = stringEnd(text, i);
        if (end < 0) throw new Reason("string without an end");
        fallback = unquote(text.slice(i, end));
        i = end;
      } else {
        const from = i;
        while (i < text.length && !/[\s,]/.test(text[i] ?? "")) i++;
        fallback = text.slice(from, i);
      }
      space();
    }
    params.push({ name, fallback, kind });
    if (text[i] === ",") {
      i++;
      space();
    }
    if (kind === "vararg" && i < text.length)
      throw new Reason(`${name}:vararg must be the last parameter`);
  }
  return { name: m[1], params };
}

/** Binds a call's arguments to parameters. */
export function bindArguments(macro: Macro, rest: string): Map<string, string> {
  const scrubbed = scrub(rest.trim());
  const bound = new Map<string, string>();
  const last = macro.params[macro.params.length - 1];
  const nrPlain = last?.kind === "vararg" ? macro.params.length - 1 : macro.params.length;
  const parts = splitArguments(scrubbed);
  let keyword = false;
  let used = 0;
  for (const [i, part] of parts.entries()) {
    const eq = /^([A-Za-z_.$][\w.$]*)=/.exec(part);
    const named = eq?.[1] === undefined ? undefined : macro.params.find((p) => p.name === eq[1]);
    if (eq !== null && named === undefined && macro.params.length > 0 && used < nrPlain) {
      throw new Reason(`macro ${macro.name} has no parameter ${eq[1]}`);
    }
    if (eq !== null && named !== undefined) {
      bound.set(named.name, unquote(part.slice(eq[0].length)));
      keyword = true;
      continue;
    }
    if (keyword) throw new Reason("positional and keyword arguments are mixed");
    if (used >= nrPlain) {
      if (last?.kind !== "vararg") {
        if (part === "" && i === parts.length - 1) break;
        throw new Reason(`too many arguments: macro ${macro.name} takes ${nrPlain}`);
      }
      bound.set(last.name, tailFrom(scrubbed, parts, i));
      break;
    }
    const param = macro.params[used++];
    if (param !== undefined && part !== "") bound.set(param.name, unquote(part));
  }
  for (const p of macro.params) {
    if (bound.has(p.name)) continue;
    if (p.kind === "req") throw new Reason(`macro ${macro.name} needs a value for ${p.name}`);
    bound.set(p.name, p.fallback);
  }
  return bound;
}

// The text of arguments from the i-th on, as written (quotes kept), for :vararg.
function tailFrom(scrubbed: string, parts: readonly string[], i: number): string {
  let at = 0;
  for (let k = 0; k < i; k++) at += (parts[k]?.length ?? 0) + 1;
  return scrubbed.slice(at);
}

/** Replaces \name, \() and \@ in one statement of a body. */
export function substitute(
  text: string,
  bound: ReadonlyMap<string, string>,
  count: number,
): string {
  if (!text.includes("\\")) return text;
  return text.replace(/\\(?:(\(\))|(@)|([A-Za-z_.$][\w.$]*)|([^]))/g, (all, empty, at, name) => {
    if (empty !== undefined) return "";
    if (at !== undefined) return String(count);
    if (typeof name !== "string") return all;
    // A dot belongs to the name, as in gas: \x.y is not \x followed by .y.
    return bound.get(name) ?? all;
  });
}
