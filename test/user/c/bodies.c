/* Bodies under gravity in doubles, and a pendulum in floats; square roots, division, energy. */
#include "c.h"
struct body { double p[3], v[3], m; };
static struct body s[5] = {
	{ { 0, 0, 0 }, { 0, 0, 0 }, 39.47841760435743 },
	{ { 4.84, -1.16, -0.10 }, { 0.606, 2.81, -0.02 }, 0.03769 },
	{ { 8.34, 4.12, -0.4 }, { -1.01, 1.82, 0.008 }, 0.01128 },
	{ { 12.89, -15.11, -0.22 }, { 1.08, 0.868, -0.01 }, 0.001723 },
	{ { 15.37, -25.9, 0.179 }, { 0.979, 0.594, -0.034 }, 0.002033 },
};
static double energy(void) {
	double e = 0;
	for (int i = 0; i < 5; i++) {
		double k = 0;
		for (int n = 0; n < 3; n++) k += s[i].v[n] * s[i].v[n];
		e += 0.5 * s[i].m * k;
		for (int j = i + 1; j < 5; j++) {
			double d = 0;
			for (int n = 0; n < 3; n++) d += (s[i].p[n] - s[j].p[n]) * (s[i].p[n] - s[j].p[n]);
			e -= s[i].m * s[j].m / __builtin_sqrt(d);
		}
	}
	return e;
}
static void step(double t) {
	for (int i = 0; i < 5; i++) for (int j = i + 1; j < 5; j++) {
		double d[3], r = 0;
		for (int n = 0; n < 3; n++) d[n] = s[i].p[n] - s[j].p[n], r += d[n] * d[n];
		double f = t / (r * __builtin_sqrt(r));
		for (int n = 0; n < 3; n++) s[i].v[n] -= d[n] * s[j].m * f, s[j].v[n] += d[n] * s[i].m * f;
	}
	for (int i = 0; i < 5; i++) for (int n = 0; n < 3; n++) s[i].p[n] += t * s[i].v[n];
}
static float sine(float x) { float r = x, t = x; for (int k = 1; k < 7; k++) t *= -x * x / (float)(2 * k * (2 * k + 1)), r += t; return r; }
MAIN {
	double m[3] = { 0, 0, 0 };
	for (int i = 0; i < 5; i++) for (int n = 0; n < 3; n++) m[n] += s[i].v[n] * s[i].m;
	for (int n = 0; n < 3; n++) s[0].v[n] = -m[n] / s[0].m;
	real("energy", energy(), 9);
	for (int i = 0; i < 400; i++) step(0.01);
	real("energy", energy(), 9);
	for (int i = 0; i < 5; i++) print("%lx %lx %lx\n", bits(s[i].p[0]), bits(s[i].p[1]), bits(s[i].v[2]));
	float angle = 1.0f, speed = 0;
	for (int i = 0; i < 500; i++) { speed -= 0.01f * sine(angle); angle += 0.01f * speed; }
	print("pendulum %x %x\n", bitsf(angle), bitsf(speed));
	print("roots %lx %x %lx\n", bits(__builtin_sqrt(2.0)), bitsf(__builtin_sqrtf(3.0f)), bits(__builtin_sqrt(1e-310)));
	return 0;
}
