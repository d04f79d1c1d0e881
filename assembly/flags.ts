// Lazy arithmetic flags: an operation leaves its kind, result and operands, sign-extended to 64 bits, and a flag
// is worked out when somebody asks. Sign extension keeps unsigned order, so no rule needs the operand size.
// Source of the rules: SDM Vol. 1, "EFLAGS Register", and the Operation sections of Vol. 2.

import { AF, ARITH, CC_A, CC_B, CC_OP, CC_R, CF, Cc, EFL, OF, PF, SF, ZF } from "./abi";

export function lazy(op: i32, r: i64, a: i64, b: i64): void {
  store<i32>(CC_OP, op);
  store<i64>(CC_R, r);
  store<i64>(CC_A, a);
  store<i64>(CC_B, b);
}

/** After a logical operation: nothing looks at its operands. */
export function lazyLogic(r: i64): void {
  store<i32>(CC_OP, Cc.Logic);
  store<i64>(CC_R, r);
}

/** cf as 0 or 1. */
export function carry(): i32 {
  const r = load<i64>(CC_R);
  switch (load<i32>(CC_OP)) {
    case Cc.Raw:
      return (<i32>r) & CF;
    case Cc.Add:
      return i32(<u64>r < load<u64>(CC_A));
    case Cc.Adc:
      return i32(<u64>r <= load<u64>(CC_A));
    case Cc.Sub:
      return i32(load<u64>(CC_A) < load<u64>(CC_B));
    case Cc.Sbb:
      return i32(load<u64>(CC_A) <= load<u64>(CC_B));
    case Cc.Logic:
      return 0;
    case Cc.Inc:
    case Cc.Dec:
      return load<i32>(CC_B);
    default:
      return load<i32>(CC_A);
  }
}

export function overflow(): i32 {
  const r = load<i64>(CC_R);
  const a = load<i64>(CC_A);
  const b = load<i64>(CC_B);
  switch (load<i32>(CC_OP)) {
    case Cc.Raw:
      return ((<i32>r) >> 11) & 1;
    case Cc.Add:
    case Cc.Adc:
      return i32(((a ^ r) & (b ^ r)) < 0);
    case Cc.Sub:
    case Cc.Sbb:
      return i32(((a ^ b) & (a ^ r)) < 0);
    case Cc.Logic:
      return 0;
    case Cc.Inc:
      return i32((~a & r) < 0);
    case Cc.Dec:
      return i32((a & ~r) < 0);
    default:
      return <i32>b;
  }
}

function adjust(): i32 {
  const r = load<i64>(CC_R);
  const a = load<i64>(CC_A);
  switch (load<i32>(CC_OP)) {
    case Cc.Raw:
      return (<i32>r) & AF;
    case Cc.Add:
    case Cc.Adc:
    case Cc.Sub:
    case Cc.Sbb:
      return (<i32>(a ^ load<i64>(CC_B) ^ r)) & AF;
    case Cc.Inc:
    case Cc.Dec:
      return (<i32>(a ^ r)) & AF; // the other operand is 1: bit 4 is 0
    default:
      return 0;
  }
}

export function zero(): i32 {
  const r = load<i64>(CC_R);
  return load<i32>(CC_OP) == Cc.Raw ? ((<i32>r) >> 6) & 1 : i32(r == 0);
}

export function sign(): i32 {
  const r = load<i64>(CC_R);
  return load<i32>(CC_OP) == Cc.Raw ? ((<i32>r) >> 7) & 1 : i32(r < 0);
}

export function parity(): i32 {
  const r = load<i64>(CC_R);
  if (load<i32>(CC_OP) == Cc.Raw) return ((<i32>r) >> 2) & 1;
  return parityOf(r);
}

function parityOf(r: i64): i32 {
  return (popcnt<i32>((<i32>r) & 0xff) & 1) ^ 1;
}

/** The six arithmetic flags at their places in rflags. */
export function arithmetic(): i32 {
  if (load<i32>(CC_OP) == Cc.Raw) return load<i32>(CC_R) & ARITH;
  return carry() | (parity() << 2) | adjust() | (zero() << 6) | (sign() << 7) | (overflow() << 11);
}

export function setArithmetic(f: i32): void {
  lazy(Cc.Raw, <i64>(f & ARITH), 0, 0);
}

/** Sets zf and leaves the other five. */
export function setZero(v: bool): void {
  setArithmetic((arithmetic() & ~ZF) | (v ? ZF : 0));
}

/** rflags as PUSHF stores it, rf excepted. */
export function rflags(): u64 {
  return (load<u64>(EFL) & ~(<u64>ARITH)) | (<u64>arithmetic()) | 2;
}

export const ALL_FLAGS: i32 = CF | PF | AF | ZF | SF | OF;

// The sixteen conditions of Jcc, SETcc and CMOVcc, as types: from the flags; and without them, from the result and the
// operands of a subtraction or the result of a logical operation just done. All values are sign-extended.
@unmanaged
export class CondO {
  test(): i32 {
    return overflow();
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(((a ^ b) & (a ^ r)) < 0);
  }
  ofLogic(r: i64): i32 {
    return i32(false);
  }
}
@unmanaged
export class CondNo {
  test(): i32 {
    return overflow() ^ 1;
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(((a ^ b) & (a ^ r)) >= 0);
  }
  ofLogic(r: i64): i32 {
    return i32(true);
  }
}
@unmanaged
export class CondB {
  test(): i32 {
    return carry();
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(<u64>a < <u64>b);
  }
  ofLogic(r: i64): i32 {
    return i32(false);
  }
}
@unmanaged
export class CondAe {
  test(): i32 {
    return carry() ^ 1;
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(<u64>a >= <u64>b);
  }
  ofLogic(r: i64): i32 {
    return i32(true);
  }
}
@unmanaged
export class CondE {
  test(): i32 {
    return zero();
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(a == b);
  }
  ofLogic(r: i64): i32 {
    return i32(r == 0);
  }
}
@unmanaged
export class CondNe {
  test(): i32 {
    return zero() ^ 1;
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(a != b);
  }
  ofLogic(r: i64): i32 {
    return i32(r != 0);
  }
}
@unmanaged
export class CondBe {
  test(): i32 {
    return carry() | zero();
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(<u64>a <= <u64>b);
  }
  ofLogic(r: i64): i32 {
    return i32(r == 0);
  }
}
@unmanaged
export class CondA {
  test(): i32 {
    return (carry() | zero()) ^ 1;
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(<u64>a > <u64>b);
  }
  ofLogic(r: i64): i32 {
    return i32(r != 0);
  }
}
@unmanaged
export class CondS {
  test(): i32 {
    return sign();
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(r < 0);
  }
  ofLogic(r: i64): i32 {
    return i32(r < 0);
  }
}
@unmanaged
export class CondNs {
  test(): i32 {
    return sign() ^ 1;
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(r >= 0);
  }
  ofLogic(r: i64): i32 {
    return i32(r >= 0);
  }
}
@unmanaged
export class CondP {
  test(): i32 {
    return parity();
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return parityOf(r);
  }
  ofLogic(r: i64): i32 {
    return parityOf(r);
  }
}
@unmanaged
export class CondNp {
  test(): i32 {
    return parity() ^ 1;
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return parityOf(r) ^ 1;
  }
  ofLogic(r: i64): i32 {
    return parityOf(r) ^ 1;
  }
}
@unmanaged
export class CondL {
  test(): i32 {
    return sign() ^ overflow();
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(a < b);
  }
  ofLogic(r: i64): i32 {
    return i32(r < 0);
  }
}
@unmanaged
export class CondGe {
  test(): i32 {
    return sign() ^ overflow() ^ 1;
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(a >= b);
  }
  ofLogic(r: i64): i32 {
    return i32(r >= 0);
  }
}
@unmanaged
export class CondLe {
  test(): i32 {
    return zero() | (sign() ^ overflow());
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(a <= b);
  }
  ofLogic(r: i64): i32 {
    return i32(r <= 0);
  }
}
@unmanaged
export class CondG {
  test(): i32 {
    return (zero() | (sign() ^ overflow())) ^ 1;
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return i32(a > b);
  }
  ofLogic(r: i64): i32 {
    return i32(r > 0);
  }
}
