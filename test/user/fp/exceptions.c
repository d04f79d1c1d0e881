// Floating-point exceptions as signals, the state that their frames carry, and what becomes of it on the way back.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <setjmp.h>
#include <fenv.h>
#include <stdint.h>
static sigjmp_buf env; static volatile int want;
static void on(int s, siginfo_t *i, void *c){
  ucontext_t *u=c; struct _libc_fpstate *f=u->uc_mcontext.fpregs;
  printf("sig %d code %d trap %lld err %lld addr %d cwd %x swd %x ftw %x mxcsr %x st0 %x:%04x%04x%04x%04x xmm7 %08x\n",s,i->si_code,(long long)u->uc_mcontext.gregs[REG_TRAPNO],(long long)u->uc_mcontext.gregs[REG_ERR],
   i->si_addr==(void*)u->uc_mcontext.gregs[REG_RIP],f->cwd,f->swd,f->ftw,f->mxcsr,f->_st[0].exponent,f->_st[0].significand[3],f->_st[0].significand[2],f->_st[0].significand[1],f->_st[0].significand[0],f->_xmm[7].element[0]);
  unsigned short cw; __asm__ volatile("fnstcw %0":"=m"(cw)); unsigned mx; __asm__ volatile("stmxcsr %0":"=m"(mx)); printf(" handler cw %x mxcsr %x\n",cw,mx);
  if(want==1){ f->_xmm[7].element[0]=0x12345678; f->mxcsr=0x1f80; f->swd&=~0x80ff; return; }
  if(want==2){ f->mxcsr=0xffffffff; want=3; return; }
  siglongjmp(env,1);
}
#define TRY(...) if(!sigsetjmp(env,1)){ __asm__ volatile("fninit"); unsigned m=0x1f80; __asm__ volatile("ldmxcsr %0"::"m"(m)); __VA_ARGS__; printf("no signal\n"); }
int main(void){
  struct sigaction a; memset(&a,0,sizeof a); a.sa_sigaction=on; a.sa_flags=SA_SIGINFO; int l[]={SIGFPE,SIGTRAP,SIGILL,SIGSEGV,SIGBUS,SIGUSR1}; for(int i=0;i<6;i++) sigaction(l[i],&a,0);
  unsigned short cw; unsigned mx; 
  TRY(cw=0x37b; __asm__ volatile("fldcw %0; fld1; fldz; fdivrp; fwait"::"m"(cw)));
  TRY(cw=0x37e; __asm__ volatile("fldcw %0; fldz; fldz; fdivrp; fwait"::"m"(cw)));
  TRY(cw=0x35f; __asm__ volatile("fldcw %0; fld1; fldpi; fdivrp; fwait"::"m"(cw)));
  TRY(cw=0x377; long double h=1e4930L; __asm__ volatile("fldcw %0; fldt %1; fmul %%st(0); fwait"::"m"(cw),"m"(h)));
  TRY(cw=0x36f; long double h=1e-4930L; __asm__ volatile("fldcw %0; fldt %1; fmul %%st(0); fwait"::"m"(cw),"m"(h)));
  TRY(cw=0x37d; double h=5e-324; __asm__ volatile("fldcw %0; fldl %1; fwait"::"m"(cw),"m"(h)));
  TRY(cw=0x37e; __asm__ volatile("fldcw %0; fstp %%st(0); fwait"::"m"(cw)));
  TRY(mx=0x1d80; double z=0; __asm__ volatile("ldmxcsr %0; divsd %1,%%xmm0"::"m"(mx),"m"(z):"xmm0"));
  TRY(mx=0x0f80; double z=3,o=1; __asm__ volatile("ldmxcsr %0; movsd %2,%%xmm0; divsd %1,%%xmm0"::"m"(mx),"m"(z),"m"(o):"xmm0"));
  TRY(mx=0x1f00; double z=-1; __asm__ volatile("ldmxcsr %0; sqrtsd %1,%%xmm0"::"m"(mx),"m"(z):"xmm0"));
  TRY(mx=0x1b80; double z=1e300; __asm__ volatile("ldmxcsr %0; movsd %1,%%xmm0; mulsd %1,%%xmm0"::"m"(mx),"m"(z):"xmm0"));
  TRY(mx=0x1780; double z=1e-300; __asm__ volatile("ldmxcsr %0; movsd %1,%%xmm0; mulsd %1,%%xmm0"::"m"(mx),"m"(z):"xmm0"));
  TRY(__asm__ volatile("xor %%eax,%%eax; xor %%edx,%%edx; div %%eax":::"eax","edx"));
  TRY(__asm__ volatile("int3"));
  TRY(__asm__ volatile("ud2"));
  TRY(__asm__ volatile("mov $0x123456789abcdef0,%%rax; mov (%%rax),%%eax":::"rax"));
  want=1; unsigned x=0; __asm__ volatile("movd %1,%%xmm7; fninit; fldpi"::"r"(0),"r"(7):"xmm7"); raise(SIGUSR1);
  long double p; __asm__ volatile("movd %%xmm7,%0; fstpt %1":"=r"(x),"=m"(p)); printf("xmm7 %x st0 %.20Lg\n",x,p);
  want=2; if(!sigsetjmp(env,1)) {raise(SIGUSR1);} printf("end %d\n",want);
  return 0;
}
