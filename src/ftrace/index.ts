// The door of ftrace: fentry sites and the modification of live text.
export { branchTo, NOP5, textPokeBp, type TextPokeLoc } from "./text-poke.ts";
