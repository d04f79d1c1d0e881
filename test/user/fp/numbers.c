// Doubles and long doubles by printf, strtod and the library of mathematics: what glibc does with the x87 FPU.
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
int main(void){
  double d[]={0,1,-1.5,3.141592653589793,1e308,5e-324,2.2250738585072014e-308,1.0/3,123456789.123456789,-0.0};
  for(int i=0;i<10;i++) printf("%.17g %a %e %f %g\n",d[i],d[i],d[i],d[i],d[i]);
  long double l[]={0,1,-1.5L,3.14159265358979323846264338327950288L,1e4000L,3.6e-4951L,1.0L/3,123456789012345678.9L,-0.0L,1e-5L};
  for(int i=0;i<10;i++) printf("%.21Lg %La %Le %Lf\n",l[i],l[i],l[i],i==4?1.0L:l[i]);
  printf("%Lf %Lf %Lf\n",sqrtl(2.0L),l[3]*l[6],l[7]/l[3]);
  printf("%.20Lf %.20Lf %.20Lf %.20Lf\n",sinl(1.0L),expl(1.0L),logl(10.0L),atanl(2.0L));
  printf("%.17g %.17g %.17g\n",sin(1e22),pow(2.5,3.7),exp(-700));
  printf("%.20Lg %a\n",strtold("2.71828182845904523536",0),strtod("0x1.8p-3",0));
  long double s=0; for(int i=1;i<1000;i++) s+=1.0L/i; printf("%.19Lf\n",s);
  printf("%lld %ld\n",llrintl(1e15L+0.5L),lrintl(-2.5L));
  return 0;
}
