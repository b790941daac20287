"""The free energy of going from MM to ML/MM, complex minus solvent: what `openmm-nnp correct` does.

    Delta Delta G = Delta G(MM -> ML/MM, complex) - Delta G(MM -> ML/MM, solvent)

is added to a binding free energy that was computed with MM. Each ligand has two legs, its complex and itself in water,
and each leg has its folder. The files, in the order in which a correction passes them:

    options   every option with its unit and help
    study     the ligands of a command and their legs; runs what is left of them, and writes the results
    cluster   legs one after another, or side by side on a Dask cluster
    leg       one leg from files to works or energy gaps
    prepare   the mixed System of a leg and its start
    engine    pieces of dynamics, each with random numbers of its own, and a switch of lambda
    store     what lies where in the folder of a leg
    analysis  BAR and MBAR, and whether their result can be trusted
    table     the results of all ligands, for people and programs
    report    the same as a page, with histograms of works and dE/dlambda
"""
