/* engine/beta.c - the beta distribution, for the schedule of that name. */
#include "engine/schedule.h"

#include <float.h>
#include <math.h>

/* The continued fraction of the incomplete beta function, DLMF 8.17.22, by Lentz's method.
 * Converges fast for x < (a + 1) / (a + b + 2). */
static double
beta_fraction (double x, double a, double b)
{
  double c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), f = d;

  for (int m = 1; m < 300; m++) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));

    d = 1 / (1 + even * d);
    c = 1 + even / c;
    f *= c * d;
    d = 1 / (1 + odd * d);
    c = 1 + odd / c;
    f *= c * d;
    if (fabs (c * d - 1) < DBL_EPSILON)
      break;
  }
  return f;
}

/* I_x (a, b), the regularised incomplete beta function. */
static double
beta_cumulative (double x, double a, double b)
{
  if (x <= 0 || x >= 1)
    return x >= 1;
  if (x > (a + 1) / (a + b + 2))
    return 1 - beta_cumulative (1 - x, b, a);

  const double beta = tgamma (a) * tgamma (b) / tgamma (a + b);
  return pow (x, a) * pow (1 - x, b) / (a * beta) * beta_fraction (x, a, b);
}

double
eng_beta_quantile (double p, double a, double b)
{
  double low = 0, high = 1;

  if (p <= 0 || p >= 1)
    return p >= 1;
  /* Bisection: slower than Newton's method, but it cannot leave the interval where the density is
   * infinite, and a schedule needs a hundred values once a picture. */
  for (int i = 0; i < 100 && high - low > DBL_EPSILON * high; i++) {
    const double middle = (low + high) / 2;
    if (beta_cumulative (middle, a, b) < p)
      low = middle;
    else
      high = middle;
  }
  return (low + high) / 2;
}
