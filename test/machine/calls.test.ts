// The engine is told not to look at the stack's limit in the core (src/machine/engine.ts): here is why it need not.
import binaryen from "binaryen";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const module = binaryen.readBinary(readFileSync(join(import.meta.dirname, "../../dist/core.wasm")));

/** The functions that each function calls. */
function calls(): ReadonlyMap<string, ReadonlySet<string>> {
  const graph = new Map<string, Set<string>>();
  for (let i = 0; i < module.getNumFunctions(); i++) {
    const { name, body } = binaryen.getFunctionInfo(module.getFunctionByIndex(i));
    const text = body === 0 ? "" : binaryen.emitText(body);
    expect(text).not.toMatch(/call_indirect|call_ref/);
    graph.set(name, new Set([...text.matchAll(/\(call \$(\S+?)[\s)]/g)].map((m) => m[1] ?? "")));
  }
  return graph;
}

test("nothing in the core calls itself, and calls are at most 30 deep", () => {
  const graph = calls();
  const depths = new Map<string, number>();
  const depthOf = (name: string, path: readonly string[]): number => {
    const known = depths.get(name);
    if (known !== undefined) return known;
    expect(path).not.toContain(name);
    const callees = [...(graph.get(name) ?? [])];
    const depth = 1 + Math.max(0, ...callees.map((c) => depthOf(c, [...path, name])));
    depths.set(name, depth);
    return depth;
  };
  const deepest = Math.max(...[...graph.keys()].map((name) => depthOf(name, [])));
  expect(deepest).toBeGreaterThan(5);
  expect(deepest).toBeLessThanOrEqual(30);
});
