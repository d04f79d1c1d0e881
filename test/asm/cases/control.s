.macro m a b c d
.ascii "[\a|\b|\c|\d]\n"
.endm
m (1,2),3
m 8(%rax,%rbx,8), %rcx
m (a b) c
m x(a b) c
m [a b] c
m (a b, c
.macro q a=4, b:req, c:vararg
.ascii "[\a|\b|\c]\n"
.endm
q , 2
q 1 2

q 1, 2, 3
.macro z a
.rept 2
.ascii "\a\@"
.endr
.ascii "\\\a"
.endm
z 5
z 6
.macro outer
.macro inner x
.ascii "(\x)"
.endm
.endm
outer
inner 9
.macro e1 x
.ifb \x
.ascii "blank"
.exitm
.endif
.ascii "nb"
.endm
e1
e1 2
.ifc a, a
.ascii "ifc1"
.endif
.ifc a b,a b
.ascii "ifc2"
.endif
.ifeqs "a","a"
.ascii "eqs"
.endif
.if 1==1 && 2>1
.ascii "t"
.elseif 1
.ascii "f"
.else
.ascii "g"
.endif
.macro mm x, y
.ascii "\x.\y \x\().\y()"
.endm
mm 1,2
.byte 1||0, 3==3, !0, -7/2, -7%3, 1<<4+1, 5&3|8, 2+3*4, ~0&0xf, 7!2
