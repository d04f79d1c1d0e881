.macro m a b c d
.ascii "[\a|\b|\c|\d]\n"
.endm
.macro v a rest:vararg
.ascii "[\a|\rest]\n"
.endm
m a - 8
m a -8
m a- 8
m 8 (%rax)
m $1, %rax
m 8(%rax , %rbx), %rax
m (1 + 2)
m (a b), c
m "a b", c
m a b
m a + b
m a +b
m a * b
m a,,c
m c=5, a=1
m 1 , 2 , 3
m %rax %rbx

m a == b
v 1, 2 + 3 , 4, a b
v 1
v 1 2 3
m a & b, c | d
m foo(%rip), bar
m 1f - .
m <a b>
.irp r, rax , "rb x", rcx
.ascii "{\r}\n"
.endr
.irp r rax rbx
.ascii "{\r}\n"
.endr
.irpc r, a b
.ascii "{\r}\n"
.endr
.irp r
.ascii "{e\r}\n"
.endr
.macro n x=5 y:req
.ascii "<\x|\y\()z|\@>\n"
.endm
n 1,2
n y=3
n ,4
m 'a', 'b'
m a=b
m ~5 !6
m -5 -6
