#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/idset_private.h"

#include <math.h>

/*
 * The interval asks of each N whether it could have been: whether in N
 * uniform numbers the k-th least is so small, or so large, with at least 2.5
 * in a hundred.  The k-th least is at most u exactly when k or more of N lie
 * there, and the chance of that is the regularised incomplete beta function
 * I_u(k, N - k + 1), which rises with N.
 */

#define LEVEL 0.025
#define TINY 1e-300

static double log_gamma(double x)
{
    int sign; /* lgamma would leave it where all threads see it */

    return lgamma_r(x, &sign);
}

/* log_gamma(a + b) - log_gamma(b).  For large b by Stirling's series taken
 * apart so that nothing large cancels out. */
static double log_gamma_ratio(double a, double b)
{
    if (b < 1000)
        return log_gamma(a + b) - log_gamma(b);
    return (b - 0.5) * log1p(a / b) + a * (log(a + b) - 1) +
           (1 / (a + b) - 1 / b) / 12;
}

/* The continued fraction of the incomplete beta function (DLMF 8.17.22), by
 * Lentz's method. */
static double beta_fraction(double a, double b, double x)
{
    double c = 1, d = 1 - (a + b) * x / (a + 1), h;

    d = 1 / (fabs(d) < TINY ? TINY : d);
    h = d;
    /* It needs some multiple of the root of the larger of a and b. */
    for (int m = 1; m < 10000000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd =
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));

        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < TINY ? TINY : d);
        c = fabs(c) < TINY ? TINY : c;
        h *= d * c;
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < TINY ? TINY : d);
        c = fabs(c) < TINY ? TINY : c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-14)
            break;
    }
    return h;
}

/* I_x(a, b) for 0 < x < 1. */
static double beta(double a, double b, double x)
{
    double front =
        exp(log_gamma_ratio(a, b) - log_gamma(a) + a * log(x) + b * log1p(-x));

    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* The chance that in n uniform numbers the k-th least is at most u. */
static double chance(double k, double n, double u)
{
    return n < k ? 0 : beta(k, n - k + 1, u);
}

/* The least whole n >= k for which the chance is above p. */
static double first_above(double k, double u, double p)
{
    double low = k - 1, high = k; /* not above; above */

    while (chance(k, high, u) <= p && high < 1e40)
        high = 2 * high;
    while (high - low > 1) {
        double n = floor((low + high) / 2);

        /* Beyond 2^53 there is nothing between neighbours. */
        if (n <= low || n >= high)
            break;
        if (chance(k, n, u) > p)
            high = n;
        else
            low = n;
    }
    return high;
}

struct mr_idset_figure mr_idset_distinct(const struct mr_idset_day *day)
{
    double n = (double)day->n;
    double u = ldexp((double)day->threshold + 0.5, -64);
    struct mr_idset_figure figure = {true, n, n, n};

    if (!day->cut)
        return figure;
    figure.exact = false;
    figure.value = (n - 1) / u;
    /* The chance must be defined: both ends are impossible. */
    if (u >= 1)
        u = nextafter(1, 0);
    /* There is one more at least: what was cut off. */
    figure.low = fmax(first_above(n, u, LEVEL), n + 1);
    /* All but LEVEL of the chance is that fewer than n lie up to u when N
     * is beyond: the last N for which it is not. */
    figure.high = fmax(first_above(n, u, 1 - LEVEL) - 1, n + 1);
    return figure;
}

struct mr_idset_figure mr_idset_duplicates(
    const struct mr_idset_day *day, uint64_t events)
{
    struct mr_idset_figure ids = mr_idset_distinct(day);
    double n = (double)events;
    struct mr_idset_figure figure = {
        ids.exact, n - ids.value, n - ids.high, n - ids.low};

    if (!ids.exact) {
        figure.low = fmax(figure.low, 0);
        figure.high = fmax(figure.high, 0);
    }
    return figure;
}
