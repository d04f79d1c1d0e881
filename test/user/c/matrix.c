/* Matrices of doubles, floats and integers: product, elimination with pivots, transposition, powers. */
#include "c.h"
#define N 24
static double a[N][N], b[N][N], c[N][N], x[N], y[N];
static float f[N][N], g[N][N], h[N][N];
static int p[N][N], q[N][N];
static double absolute(double v) { return v < 0 ? -v : v; }
MAIN {
	for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) {
		a[i][j] = unit() * 2 - 1; b[i][j] = unit();
		f[i][j] = (float)a[i][j]; g[i][j] = (float)(i - j) / 7;
		p[i][j] = (i * j + 1) % 7;
	}
	for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) {
		double s = 0; float t = 0;
		for (int k = 0; k < N; k++) s += a[i][k] * b[k][j], t += f[i][k] * g[k][j];
		c[i][j] = s; h[i][j] = t;
	}
	u64 m = 0;
	for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) m = mix(m, bits(c[i][j]) ^ bitsf(h[i][j]));
	print("products %lx\n", m);
	for (int i = 0; i < N; i++) { x[i] = i + 0.5; y[i] = 0; for (int j = 0; j < N; j++) y[i] += a[i][j] * (j + 0.5); }
	double det = 1;
	for (int k = 0; k < N; k++) {
		int best = k;
		for (int i = k + 1; i < N; i++) if (absolute(a[i][k]) > absolute(a[best][k])) best = i;
		if (best != k) {
			det = -det;
			for (int j = 0; j < N; j++) { double t = a[k][j]; a[k][j] = a[best][j]; a[best][j] = t; }
			double t = y[k]; y[k] = y[best]; y[best] = t;
		}
		det *= a[k][k];
		for (int i = k + 1; i < N; i++) {
			double r = a[i][k] / a[k][k];
			for (int j = k; j < N; j++) a[i][j] -= r * a[k][j];
			y[i] -= r * y[k];
		}
	}
	double worst = 0;
	for (int i = N - 1; i >= 0; i--) {
		double s = y[i];
		for (int j = i + 1; j < N; j++) s -= a[i][j] * y[j];
		y[i] = s / a[i][i];
		if (absolute(y[i] - x[i]) > worst) worst = absolute(y[i] - x[i]);
	}
	real("determinant", det, 6);
	print("solved %d %lx\n", worst < 1e-9, bits(worst));
	for (int n = 0; n < 5; n++) {
		for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) {
			int s = 0;
			for (int k = 0; k < N; k++) s += p[i][k] * p[k][j];
			q[j][i] = s % 1009;
		}
		for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) p[i][j] = q[i][j];
	}
	int trace = 0;
	for (int i = 0; i < N; i++) trace += p[i][i];
	print("trace %d\n", trace);
	return trace & 63;
}
