// The door of the instruction set.
export { X86, type Form } from "./x86.ts";
export {
  encodingOf,
  operandsOf,
  packIsa,
  type Encoding,
  type PackedIsa,
  type UopCall,
} from "./pack.ts";
export { dispatchText } from "./dispatch.ts";
export { isaMarkdown } from "./document.ts";
