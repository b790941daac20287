/**
 * Link atoms, in the gather and scatter stages.  With b = r_mm - r_ml, u = b/|b| and the distance d,
 *
 *     r = r_ml + d u,    F_mm = d/|b| (F - (F.u) u),    F_ml = F - F_mm,
 *
 * F being the force on the link atom.
 */

/** (u, d/|b|) of a bond to the nearest image, or of one that is unwrapped; box vectors a, b, c; all in nm. */
DEVICE WIDE4 findLinkBond(WIDE4 ml, WIDE4 mm, WIDE distance, WIDE4 a, WIDE4 b, WIDE4 c) {
    WIDE4 bond;
    bond.x = mm.x - ml.x;
    bond.y = mm.y - ml.y;
    bond.z = mm.z - ml.z;
#ifndef UNWRAP
    const WIDE alongC = floor(bond.z / c.z + 0.5f);
    bond.x -= alongC * c.x;
    bond.y -= alongC * c.y;
    bond.z -= alongC * c.z;
    const WIDE alongB = floor(bond.y / b.y + 0.5f);
    bond.x -= alongB * b.x;
    bond.y -= alongB * b.y;
    bond.x -= floor(bond.x / a.x + 0.5f) * a.x;
#endif
    const WIDE length = sqrt(bond.x * bond.x + bond.y * bond.y + bond.z * bond.z);
    bond.x /= length;
    bond.y /= length;
    bond.z /= length;
    bond.w = distance / length;
    return bond;
}

/** r, from the bond (u, d/|b|). */
DEVICE WIDE4 placeLink(WIDE4 ml, WIDE4 bond, WIDE distance) {
    ml.x += distance * bond.x;
    ml.y += distance * bond.y;
    ml.z += distance * bond.z;
    return ml;
}

/** F_mm, from F and the bond (u, d/|b|). */
DEVICE WIDE4 findForceOnMM(WIDE4 force, WIDE4 bond) {
    const WIDE along = force.x * bond.x + force.y * bond.y + force.z * bond.z;
    force.x = bond.w * (force.x - along * bond.x);
    force.y = bond.w * (force.y - along * bond.y);
    force.z = bond.w * (force.z - along * bond.z);
    return force;
}
