// The decoder: bytes to micro-op records. It knows the encoding and no opcode; what an opcode is comes from the packed
// table in wasm memory. The order is that of the kernel's insn.c: prefixes, opcode, ModRM, SIB, displacement,
// immediate. SDM Vol. 2A, "Instruction Format".

import {
  ATTR_BRANCH,
  NO_LINK,
  ATTR_D64,
  ATTR_END,
  ATTR_F64,
  ATTR_LOCK,
  ATTR_MODRM,
  ATTR_PRIV,
  ATTR_REP,
  ATTR_REXW,
  ATTR_SP,
  ATTR_SP_ALWAYS,
  ATTR_SP_ANY,
  ATTR_X87,
  CPL,
  FIXED_REG,
  FPU_REGS,
  FS_BASE,
  Form,
  GROUPS,
  GROUP_BYTES,
  GS_BASE,
  Imm,
  MISC_ADDR32,
  MISC_LOCK,
  MISC_MEM,
  MISC_NOTRACK,
  MISC_REP,
  MISC_REPNE,
  Operand,
  RAX,
  RIP_PAGE,
  ROWS,
  ROW_SIZE,
  RSP,
  R_A,
  R_ATTR,
  R_B,
  R_BYTES,
  R_FORM,
  R_IMM,
  R_UOP,
  R_WIDTH,
  SEG_FS,
  SEG_GS,
  SLOTS,
  SLOT_GROUP,
  SLOT_GROUP_PLAIN,
  SLOT_GROUP_SMALL,
  SMALL_GROUPS,
  SMALL_GROUP_BYTES,
  U_A,
  U_B,
  U_BASE,
  U_DISP,
  U_IMM,
  U_INDEX,
  U_LEN,
  U_LINK,
  U_LINK2,
  U_MISC,
  U_OFF,
  U_OP,
  U_SEG,
  U_TARGET,
  Vector,
  Width,
  XMM,
  ZERO,
} from "./abi";
import { UOP_FAULTY } from "./ids";

export const PAST_LIMIT: i32 = -1;
const TWO_PAGES: usize = 0xc130; // u64: always 8192, an index register of addresses relative to rip

// What the last decoded instruction is, for the block builder.
let attr: i32 = 0;
let form: i32 = 0;
let writesSp: bool = false;
let served: i32 = 0;

export function ended(): bool {
  return (attr & ATTR_END) != 0;
}

/** The row of the table that serves it, 0 when there is none. */
export function servedBy(): i32 {
  return served;
}

export function movesSp(): bool {
  return writesSp;
}

function registerAt(n: i32, byte: bool, rex: i32): i32 {
  if (byte && !rex && n >= 4 && n < 8) return RAX + ((n - 4) << 3) + 1; // ah ch dh bh
  return RAX + (n << 3);
}

/** Fills a record that raises `vector` when executed. */
function refuse(up: usize, vector: i32, n: i32): i32 {
  attr = ATTR_END;
  writesSp = false;
  store<u16>(up, UOP_FAULTY, U_OP);
  store<u8>(up, <u8>n, U_LEN);
  store<u64>(up, <u64>vector, U_IMM);
  return n;
}

/**
 * Decodes the instruction at wasm address `p`, of which `limit` bytes are at hand, into the record `up`; `off` is its
 * offset in its page. Answers its length, or PAST_LIMIT when it goes on behind the limit. An encoding that the table
 * does not list becomes a record that raises #UD.
 */
export function decode(p: usize, limit: i32, off: i32, up: usize): i32 {
  let i = 0;
  served = 0;
  let rex = 0;
  let size16 = false;
  let addr32 = false;
  let lock = false;
  let rep = 0; // 0xf2, 0xf3
  let seg = ZERO;
  let notrack = false;
  let b = 0;
  const stop = limit < 15 ? limit : 15;

  for (;;) {
    if (i >= stop) return stop == 15 ? refuse(up, Vector.GP, 15) : PAST_LIMIT;
    b = load<u8>(p + i);
    if (b == 0x66) size16 = true;
    else if (b == 0x67) addr32 = true;
    else if (b == 0xf0) lock = true;
    else if (b == 0xf2 || b == 0xf3) rep = b;
    else if (b == 0x64) {
      seg = FS_BASE;
      notrack = false;
    } else if (b == 0x65) {
      seg = GS_BASE;
      notrack = false;
    } else if (b == 0x3e) notrack = true;
    else if (b == 0x26 || b == 0x2e || b == 0x36) {
      // es cs ss ds: their base is 0, and they do not undo fs or gs
    } else if ((b & 0xf0) == 0x40) {
      rex = b;
      i++;
      continue;
    } else break;
    rex = 0; // a REX that a legacy prefix follows does not count
    i++;
  }

  let map = 0;
  if (b == 0x0f) {
    if (++i >= stop) return stop == 15 ? refuse(up, Vector.GP, 15) : PAST_LIMIT;
    b = load<u8>(p + i);
    map = 1;
    if (b == 0x38 || b == 0x3a) {
      map = b == 0x38 ? 2 : 3;
      if (++i >= stop) return stop == 15 ? refuse(up, Vector.GP, 15) : PAST_LIMIT;
      b = load<u8>(p + i);
    }
  }
  i++;
  const opcode = b;

  let slot = <i32>load<u16>(SLOTS + (((map << 8) | opcode) << 1));
  let modrm = -1;
  if (slot & SLOT_GROUP) {
    let select = rep == 0xf3 ? 2 : rep == 0xf2 ? 3 : size16 ? 1 : 0;
    let group: usize = GROUPS + (slot & 0xff) * GROUP_BYTES;
    if (slot & SLOT_GROUP_PLAIN) select = (select << 7) | ((rex & 1) << 3);
    else {
      if (i >= stop) return stop == 15 ? refuse(up, Vector.GP, 15) : PAST_LIMIT;
      modrm = load<u8>(p + i);
      if (slot & SLOT_GROUP_SMALL) {
        group = SMALL_GROUPS + (slot & 0xfff) * SMALL_GROUP_BYTES;
        select = (select << 1) | i32(modrm >= 0xc0);
      } else select = (select << 7) | (modrm >= 0xc0 ? 0x40 : 0) | (modrm & 0x3f);
    }
    slot = <i32>load<u16>(group + (select << 1));
  }
  if (!slot) return refuse(up, Vector.UD, i);
  served = slot;

  const row: usize = ROWS + slot * ROW_SIZE;
  attr = load<u16>(row, R_ATTR);
  const rowForm = load<u8>(row, R_FORM);
  if (attr & ATTR_MODRM && modrm < 0) {
    if (i >= stop) return stop == 15 ? refuse(up, Vector.GP, 15) : PAST_LIMIT;
    modrm = load<u8>(p + i);
  }
  if (attr & ATTR_MODRM) i++;

  const wide = (rex & 8) != 0;
  if (attr & ATTR_REXW && !wide) return refuse(up, Vector.UD, i);
  let size = wide || attr & ATTR_F64 ? 8 : size16 ? 2 : attr & ATTR_D64 ? 8 : 4;

  // The ModRM operand.
  form = 0;
  let rm = -1;
  let base = ZERO;
  let index = ZERO;
  let disp: i64 = 0;
  let scale = 0;
  let relative = false;
  if (attr & ATTR_MODRM) {
    const mod = modrm >> 6;
    rm = (modrm & 7) | ((rex & 1) << 3);
    if (mod == 3 || rowForm == Form.R) {
      if (rowForm == Form.M) return refuse(up, Vector.UD, i);
    } else {
      form = 1;
      let dispSize = mod == 1 ? 1 : mod == 2 ? 4 : 0;
      if ((modrm & 7) == 4) {
        if (i >= stop) return stop == 15 ? refuse(up, Vector.GP, 15) : PAST_LIMIT;
        const sib = <i32>load<u8>(p + i++);
        const x = ((sib >> 3) & 7) | ((rex & 2) << 2);
        if (x != 4) {
          index = RAX + (x << 3);
          scale = sib >> 6;
          form = 2;
        }
        if ((sib & 7) == 5 && mod == 0) dispSize = 4;
        else base = RAX + (((sib & 7) | ((rex & 1) << 3)) << 3);
      } else if ((modrm & 7) == 5 && mod == 0) {
        dispSize = 4;
        relative = true;
        base = RIP_PAGE;
      } else base = RAX + (rm << 3);
      if (dispSize) {
        if (i + dispSize > stop) return stop == 15 ? refuse(up, Vector.GP, 15) : PAST_LIMIT;
        disp = dispSize == 1 ? <i64>load<i8>(p + i) : <i64>load<i32>(p + i);
        i += dispSize;
      }
    }
  }
  if (form && (seg != ZERO || addr32 || (relative && disp + off + 32 > i32.MAX_VALUE))) form = 2;

  // The immediate.
  let imm: i64 = 0;
  const kind = <i32>load<u8>(row, R_IMM);
  let immSize = 0;
  switch (kind) {
    case Imm.Byte:
    case Imm.Rel8:
      immSize = 1;
      break;
    case Imm.Word:
      immSize = 2;
      break;
    case Imm.Z:
      immSize = size == 2 ? 2 : 4;
      break;
    case Imm.V:
      immSize = size;
      break;
    case Imm.Rel32:
      immSize = 4;
      break;
    case Imm.Offset:
      immSize = addr32 ? 4 : 8;
      break;
    case Imm.Enter:
      immSize = 3;
      break;
    case Imm.One:
      imm = 1;
      break;
    default:
      if (attr & ATTR_X87) imm = <i64>(((opcode & 7) << 8) | (modrm & 0xff));
      break;
  }
  if (immSize) {
    if (i + immSize > stop) return stop == 15 ? refuse(up, Vector.GP, 15) : PAST_LIMIT;
    if (immSize == 1) imm = <i64>load<i8>(p + i);
    else if (immSize == 2) imm = kind == Imm.Word ? <i64>load<u16>(p + i) : <i64>load<i16>(p + i);
    else if (immSize == 3) imm = (<i64>load<u16>(p + i)) | ((<i64>load<u8>(p + i + 2)) << 16);
    else if (immSize == 4) imm = kind == Imm.Offset ? <i64>load<u32>(p + i) : <i64>load<i32>(p + i);
    else imm = load<i64>(p + i);
    i += immSize;
  }

  if (lock && !(attr & ATTR_LOCK && form)) return refuse(up, Vector.UD, i);
  if (attr & ATTR_PRIV && load<i32>(CPL)) return refuse(up, Vector.GP, i);

  // The micro-op.
  const width = load<u8>(row, R_WIDTH);
  const iw =
    width == Width.V ? (size == 2 ? 0 : size == 4 ? 1 : 2) : width == Width.Y ? i32(size == 8) : 0;
  let uop = <i32>load<u16>(row, R_UOP);
  if (rowForm == Form.E) uop += iw * 3 + form;
  else if (rowForm == Form.M) uop += iw * 2 + form - 1;
  else uop += iw;

  const bytes = load<u8>(row, R_BYTES);
  const reg = modrm >= 0 ? ((modrm >> 3) & 7) | ((rex & 4) << 1) : 0;
  const low = (opcode & 7) | ((rex & 1) << 3);
  const a = operand(load<u8>(row, R_A), rm, reg, low, (bytes & 1) != 0, rex);
  const bb = operand(load<u8>(row, R_B), rm, reg, low, (bytes & 2) != 0, rex);
  writesSp =
    (attr & ATTR_SP_ALWAYS) != 0 ||
    (attr & (ATTR_SP | ATTR_SP_ANY) && a == RSP && (!form || load<u8>(row, R_A) != Operand.Rm)) ||
    (attr & ATTR_SP_ANY && bb == RSP);

  let misc = scale | (addr32 ? MISC_ADDR32 : 0) | (lock ? MISC_LOCK : 0) | (form ? MISC_MEM : 0);
  if (notrack) misc |= MISC_NOTRACK;
  if (attr & ATTR_REP) misc |= rep == 0xf3 ? MISC_REP : rep == 0xf2 ? MISC_REPNE : 0;
  store<u16>(up, <u16>uop, U_OP);
  store<u8>(up, <u8>i, U_LEN);
  store<u8>(up, <u8>misc, U_MISC);
  store<u16>(up, <u16>a, U_A);
  store<u16>(up, <u16>bb, U_B);
  store<u16>(up, <u16>base, U_BASE);
  store<u16>(up, <u16>index, U_INDEX);
  if (attr & ATTR_BRANCH) {
    store<u32>(up, NO_LINK, U_LINK);
    store<u32>(up, NO_LINK, U_LINK2);
    store<i64>(up, <i64>(off + i) + imm, U_TARGET);
    return i;
  }
  if (relative) disp += off + i;
  store<u32>(up, seg, U_SEG);
  store<i64>(up, imm, U_IMM);
  if (kind == Imm.Offset) {
    // moffs: an absolute address of 64 bits does not fit the displacement; U_IMM holds it, see `movOffset`.
    store<i32>(up, 0, U_DISP);
    return i;
  }
  if (disp != <i64>(<i32>disp)) {
    // Just beyond 2 GiB from the start of the page: a register that holds two pages makes up for it.
    disp -= 8192;
    store<u64>(TWO_PAGES, 8192);
    store<u16>(up, <u16>TWO_PAGES, U_INDEX);
  }
  store<i32>(up, <i32>disp, U_DISP);
  return i;
}

function operand(o: i32, rm: i32, reg: i32, low: i32, byte: bool, rex: i32): i32 {
  if (o & FIXED_REG) return RAX + ((o & 15) << 3);
  switch (o) {
    case Operand.Rm:
      return rm >= 0 ? registerAt(rm, byte, rex) : 0;
    case Operand.Reg:
      return registerAt(reg, byte, rex);
    case Operand.Opcode:
      return registerAt(low, byte, rex);
    case Operand.Number:
      return reg;
    case Operand.Fs:
      return SEG_FS;
    case Operand.Gs:
      return SEG_GS;
    case Operand.XmmRm:
      return rm >= 0 ? XMM + (rm << 4) : 0;
    case Operand.XmmReg:
      return XMM + (reg << 4);
    case Operand.MmxRm:
      return rm >= 0 ? FPU_REGS + ((rm & 7) << 4) : 0;
    case Operand.MmxReg:
      return FPU_REGS + ((reg & 7) << 4);
    default:
      return 0;
  }
}
