// tools/testing/selftests/livepatch/test-shadow-vars.sh: the interface of shadow variables, called from a module's init.
// What it should say comes from a model of them: a map by object and id.
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { insmod, rmmod } from "./events.ts";
import { makeLab, type Lab } from "./lab.ts";

const MODULE = "test_klp_shadow_vars";
const ID1 = "0x1234";
const ID2 = "0x1235";
const OBJS = [0, 1, 2];

/** A shadow variable: which one it is, and what it points to. */
interface Variable {
  readonly name: string;
  readonly value: string;
}

/** What the module says while it goes through the interface, when shadow variables are what they should be. */
function expectedLines(): readonly string[] {
  const out: string[] = [];
  const ids = ["NULL"];
  const vars = new Map<string, Variable>();
  const say = (text: string): void => void out.push(`${MODULE}: ${text}`);
  /** Pointers are numbered in the order of their first mention. */
  const ptr = (name: string): string => {
    if (!ids.includes(name)) ids.push(name);
    return `PTR${ids.indexOf(name)}`;
  };
  const get = (obj: number, id: string): Variable | undefined => {
    const found = vars.get(`${obj},${id}`);
    const o = ptr(`obj${obj}`);
    say(`klp_shadow_get(obj=${o}, id=${id}) = ${ptr(found?.name ?? "NULL")}`);
    return found;
  };
  const alloc = (obj: number, id: string, value: string, how: "alloc" | "get_or_alloc"): void => {
    const key = `${obj},${id}`;
    let v = vars.get(key);
    if (v === undefined) {
      v = { name: `sv ${key}`, value };
      vars.set(key, v);
      const name = ptr(v.name);
      say(`shadow_ctor: ${name} -> ${ptr(value)}`);
    }
    const o = ptr(`obj${obj}`);
    say(`klp_shadow_${how}(obj=${o}, id=${id}, size=8) = ${ptr(v.name)}`);
  };
  const isNull = (v: Variable | undefined): void => {
    if (v === undefined) say("  got expected NULL result");
  };
  const isVariable = (v: Variable | undefined): void => {
    if (v !== undefined) say(`  got expected ${ptr(v.name)} -> ${ptr(v.value)} result`);
  };

  isNull(get(0, ID1));
  for (const i of OBJS) {
    alloc(i, ID1, `fields1 ${i}`, i % 2 === 0 ? "get_or_alloc" : "alloc");
    alloc(i, ID2, `fields2 ${i}`, "alloc");
  }
  for (const i of OBJS) for (const id of [ID1, ID2]) isVariable(get(i, id));
  for (const i of OBJS) {
    alloc(i, ID1, "ndup", "get_or_alloc");
    isVariable(vars.get(`${i},${ID1}`));
  }
  for (const i of OBJS) {
    const v = vars.get(`${i},${ID1}`);
    vars.delete(`${i},${ID1}`);
    const o = ptr(`obj${i}`);
    say(`shadow_dtor(obj=${o}, shadow_data=${ptr(v?.name ?? "NULL")})`);
    say(`klp_shadow_free(obj=${o}, id=${ID1})`);
    isNull(get(i, ID1));
  }
  for (const i of OBJS) isVariable(get(i, ID2));
  for (const i of OBJS) vars.delete(`${i},${ID2}`);
  say(`klp_shadow_free_all(id=${ID2}, dtor=PTR0)`);
  for (const i of OBJS) isNull(get(i, ID2));
  return out;
}

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});
beforeEach(() => lab.reset());

describe("test-shadow-vars", () => {
  test("basic shadow variable API", () => {
    expect(lab.insmod(MODULE)).toBe(0);
    lab.unload(MODULE);
    const expected = expectedLines();
    expect(expected.length).toBe(57);
    expect(lab.log()).toEqual([insmod(MODULE), ...expected, rmmod(MODULE)]);
  });
});
