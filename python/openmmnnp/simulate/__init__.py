"""Protein-ligand simulations with a potential, from files to a report: what `openmm-nnp simulate` does.

The files, in the order in which data pass them:

    options     every option with its unit and help; quantities reads values with units
    run         begins a run or goes on with one; all else is called from here
    build       a System with MM terms for everything; read, ligand and select take the files apart
    prepare     embeds the model, tries it, and chooses atoms and platform: a Run
    summary     what a Run says of itself, at the start, in run.yaml and at the end
    protocol    minimization, and the System and integrator of each phase
    dynamics    steps through the phases; progress shows how far, signals end it early
    watch       bonds and contacts of the model's molecules meanwhile; molecules makes them whole
    output      log.csv and the trajectory, which are cut back to a checkpoint
    checkpoint  moments to go on from
    folder      what lies where in the folder of a run, and who may write there
    report      the page on finished runs, from their folders alone

demo runs all of it on Tyk2; extras names the packages that it needs.
"""
